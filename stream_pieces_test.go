package flyrpc

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// openingPart is a piece of a request or message.
func openingPart(seq uint16, part string) Packet { return frameOfCall(opening, seq, pieceCode, part) }

// TestPiecesWire holds a server that takes messages of 1,000 bytes to the rules on pieces.
func TestPiecesWire(t *testing.T) {
	long := strings.Repeat("x", 600)
	unprocessed := func(p Packet) Packet { return withMeta(p, MetaNotProcessed, "") }
	tooLong := unprocessed(refused(1, TooLong, "the message has more than the 1000 bytes that are accepted"))
	cancelled := unprocessed(refused(1, Canceled, "the call was cancelled before all of it had come"))
	for _, tt := range []wireCase{
		{"a request", []Packet{openingPart(1, "1"), openingPart(1, ""), openingPart(1, "2"), rawRequest(1, "/none", "3")}, []Packet{rawAnswer(1, "123")}, false},
		{"a request with items", []Packet{openingPart(1, "["), openingPart(1, "1"), opens(1, "/sum", "]"), sent(1, "4"), endFrame(1)}, []Packet{rawAnswer(1, "4")}, false},
		{
			"two at once",
			[]Packet{openingPart(1, "1"), openingPart(2, "3"), openingPart(1, "2"), rawRequest(2, "/none", "4"), rawRequest(1, "/none", "")},
			[]Packet{rawAnswer(2, "34"), rawAnswer(1, "12")},
			false,
		},
		{
			"others between",
			[]Packet{openingPart(1, "1"), rawRequest(2, "/none", "5"), creditFrame(fromCaller, 1, 5), sent(1, "9"), endFrame(1), rawRequest(1, "/none", "2")},
			[]Packet{rawAnswer(2, "5"), rawAnswer(1, "12")},
			false,
		},
		{
			"a request that is too long",
			[]Packet{openingPart(1, long), openingPart(1, long), rawRequest(1, "/size", "x")},
			[]Packet{unprocessed(refused(1, TooLong, "the message has 1201 bytes, at most 1000 are accepted"))},
			false,
		},
		{"one that is far too long", []Packet{openingPart(1, strings.Repeat(long, 15)), openingPart(1, strings.Repeat(long, 15)), openingPart(1, long), rawRequest(1, "/size", "x")}, []Packet{tooLong}, false},
		{"a message that is too long", []Packet{openingPart(1, long), openingPart(1, long), {Sequence: 1, Code: "/note", Payload: []byte("x")}}, nil, false},
		{
			"an item that is too long",
			[]Packet{opens(1, "/each", ""), sent(1, "1"), frameOfCall(fromCaller, 1, pieceCode, long), sent(1, long), sent(1, "2"), endFrame(1)},
			[]Packet{rawAnswer(1, `["1","BUFF_TOO_LONG","2"]`)},
			false,
		},
		{
			"one that is far too long",
			[]Packet{opens(1, "/each", ""), frameOfCall(fromCaller, 1, pieceCode, strings.Repeat(long, 15)), frameOfCall(fromCaller, 1, pieceCode, strings.Repeat(long, 15)), sent(1, long), sent(1, "2"), endFrame(1)},
			[]Packet{rawAnswer(1, `["BUFF_TOO_LONG","2"]`)},
			false,
		},
		{
			"an item that is too long, for iter.Seq2",
			[]Packet{opens(1, "/all", ""), frameOfCall(fromCaller, 1, pieceCode, long), sent(1, long)},
			[]Packet{rawAnswer(1, `["BUFF_TOO_LONG: an item has 1200 bytes, at most 1000 are accepted"]`)},
			false,
		},
		{"an item in pieces for one that takes none", []Packet{opens(1, "/none", "5"), frameOfCall(fromCaller, 1, pieceCode, long), endFrame(1)}, []Packet{rawAnswer(1, "5")}, false},
		{"cancelled", []Packet{openingPart(1, "1"), rawCancel(1), rawCancel(1), rawRequest(1, "/none", "2")}, []Packet{cancelled, rawAnswer(1, "2")}, false},
		{"no handler", []Packet{openingPart(1, "1"), rawRequest(1, "/nobody", "2")}, []Packet{unprocessed(refused(1, NotFound, `no handler for "/nobody"`))}, false},
		{
			"a packet over the frame limit",
			[]Packet{openingPart(1, "1"), rawRequest(1, "/size", strings.Repeat(long, 60)), rawRequest(1, "/none", "2")},
			[]Packet{unprocessed(refused(1, TooLong, "the packet has 36000 bytes of payload, at most 20000 are accepted")), rawAnswer(1, "2")},
			false,
		},
		{"a piece over the frame limit", []Packet{openingPart(1, strings.Repeat(long, 60))}, nil, true},
		{"an item over the frame limit", []Packet{opens(1, "/each", ""), sent(1, strings.Repeat(long, 60))}, nil, true},
		{"too many calls", []Packet{openingPart(1, "1"), openingPart(2, "1"), openingPart(3, "1"), openingPart(4, "1"), openingPart(5, "1")}, nil, true},
		{"too many calls, of both kinds", []Packet{rawRequest(1, "/wait", ""), rawRequest(2, "/wait", ""), openingPart(3, "1"), openingPart(4, "1"), rawRequest(5, "/wait", "")}, nil, true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{MaxMessage: 1000, MaxFrame: 20_000, MaxCalls: 4})
			wireHandlers(srv)
			w := wireHello(t, srv, "")
			if tt.broken {
				w.wantBroken(tt.send...)
				return
			}
			w.sendAll(false, tt.send...)
			for _, p := range tt.want {
				w.want(p)
			}
			w.wantAlive()
			c := srv.Conns()[0]
			wantNothingLeft(t, "server", c)
			if c.memory().inflating.credit.Left() != 1000 {
				t.Error("inflating")
			}
		})
	}
}

// TestMetadataInPieces: the metadata is split off the whole, wherever the pieces end.
func TestMetadataInPieces(t *testing.T) {
	const whole = "\x02\x04\x00abc" // raw bytes
	for cut := range len(whole) {
		srv := quietServer(t, nil)
		wireHandlers(srv)
		w := wireHello(t, srv, "")
		for i := range cut {
			w.send(openingPart(1, whole[i:i+1]))
		}
		last := appendHeader(nil, FlagWait|FlagMeta, 1, "/size", nil, len(whole)-cut)
		w.write(append(last, whole[cut:]...))
		w.want(rawAnswer(1, "3"))
	}
}

// TestMessageInPiecesWire: a message in pieces is handled as any other, and its sequence is free for the next.
func TestMessageInPiecesWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 4)
		srv := quietServer(t, nil)
		srv.OnMessage("/note", func(n int) { got <- fmt.Sprint(n) })
		w := wireHello(t, srv, "")
		w.sendAll(true, openingPart(7, "1"), Packet{Code: "/note", Payload: []byte("5")}, Packet{Sequence: 7, Code: "/note", Payload: []byte("2")}, openingPart(7, "3"))
		synctest.Wait()
		w.send(Packet{Sequence: 7, Code: "/note", Payload: []byte("4")})
		all := <-got + " " + <-got + " " + <-got
		for _, want := range []string{"12", "34", "5"} {
			if !strings.Contains(all, want) {
				t.Errorf("got %s", all)
			}
		}
		w.wantAlive()
		synctest.Wait()
		wantEmpty(t, "server", srv.Conns()[0])
	})
}

// TestLimitsOfSender: what the other end doesn't accept isn't sent, in either direction.
func TestLimitsOfSender(t *testing.T) {
	opts := ServerOpts{MaxMessage: 10_000, StreamWindow: 2000, MaxFrame: 1000}
	p := newPair(t, &opts, &ClientOpts{MaxMessage: 10_000, StreamWindow: 2000, MaxFrame: 1000}, func(srv *Server, cli *Client) {
		streamHandlers(srv)
		streamHandlers(cli)
	})
	for name, c := range map[string]*Conn{"client": p.cc, "server": p.sc} {
		ctx := bounded(t)
		wantFailed(t, c.Call(ctx, "/size", make([]byte, 10_001), nil), TooLong, NotSent)
		wantFailed(t, c.SendMessage(ctx, "/size", make([]byte, 10_001)), TooLong, NotSent)
		wantFailed(t, c.Call(ctx, "/big", 10_001, new([]byte)), TooLong, Answered)
		s, err := c.OpenStream(ctx, "/pass", nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFailed(t, s.Send(make([]byte, 10_001)), TooLong, NotSent)
		wantFailed(t, s.Send(func() {}), BadRequest, NotSent)
		var b []byte
		if err := s.Send(make([]byte, 10_000)); err != nil { // neither ends the stream
			t.Error(err)
		}
		if err := s.Recv(&b); len(b) != 10_000 || err != nil {
			t.Error(len(b), err)
		}
		s.Close()
		for _, n := range []int{999, 1000, 1001, 9_999, 10_000} {
			b, err := Call[[]byte](ctx, c, "/echo", text(n, n))
			if !bytes.Equal(b, text(n, n)) || err != nil {
				t.Errorf("echo of %d: %d bytes, %v", n, len(b), err)
			}
		}
		wantNothingLeft(t, name, c)
	}
}

// TestLargeOfAllKinds has large calls, replies, items, messages and broadcasts go both ways at once.
func TestLargeOfAllKinds(t *testing.T) {
	const each, size = 10, 300_000
	var notes sync.Map
	seen := make(chan int, 1000)
	setup := func(srv *Server, cli *Client) {
		streamHandlers(srv)
		streamHandlers(cli)
		for _, r := range []Registrar{srv, cli} {
			r.registrar().OnMessage("/note", func(b []byte) {
				if !bytes.Equal(b, text(len(b), len(b))) {
					t.Errorf("another message of %d bytes", len(b))
				}
				notes.Store(len(b), true)
				seen <- len(b)
			})
		}
	}
	p := newPair(t, &ServerOpts{StreamWindow: 64 << 10, MessageWindow: 64 << 10, MaxCalls: 30}, &ClientOpts{MessageWindow: 32 << 10, MaxCalls: 30}, setup)
	var wg sync.WaitGroup
	ctx := bounded(t)
	for k, c := range []*Conn{p.cc, p.sc} {
		for i := range each {
			n := size + 2*i + k
			wg.Go(func() {
				if b, err := Call[[]byte](ctx, c, "/echo", text(n, n)); !bytes.Equal(b, text(n, n)) || err != nil {
					t.Errorf("echo: %d bytes, %v", len(b), err)
				}
			})
			wg.Go(func() {
				if err := c.SendMessage(ctx, "/note", text(n, n)); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				for b, err := range Exchange[[]byte, []byte](ctx, c, "/pass", nil, func(yield func([]byte) bool) { _ = yield(text(n, n)) && yield(text(1, n)) }) {
					if len(b) != n || err != nil {
						t.Errorf("pass: %d bytes, %v", len(b), err)
					}
				}
			})
		}
	}
	wg.Wait()
	for range 2 * each {
		await1(t, seen, "the messages")
	}
	if err := p.srv.Broadcast("/note", text(size, size)); err != nil {
		t.Error(err)
	}
	if n := await1(t, seen, "the broadcast"); n != size {
		t.Error(n)
	}
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}

// TestBroadcastLarge: broadcasts in pieces go one after the other, and one that comes meanwhile is refused.
func TestBroadcastLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, seen := make(chan struct{}), make(chan int, 100)
		p := newPair(t, nil, &ClientOpts{MessageWindow: 64 << 10, StreamWindow: 64 << 10, MaxCalls: 1}, func(srv *Server, cli *Client) {
			cli.OnMessage("/note", func(b []byte) { <-gate; seen <- len(b) })
		})
		if err := p.srv.Broadcast("/note", make([]byte, 200_000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 2 { // the messages' account takes two more, of which the last part waits
			if err := p.srv.Broadcast("/note", make([]byte, 100_001)); err != nil {
				wantFailed(t, err, Busy, NotSent)
			}
			synctest.Wait()
		}
		close(gate)
		synctest.Wait()
		if err := p.srv.Broadcast("/note", make([]byte, 100_002)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(seen) < 2 {
			t.Errorf("%d broadcasts came", len(seen))
		}
		err := p.srv.Broadcast("/note", make([]byte, 5<<20))
		if !outcomeIs(err, TooLong, NotSent) {
			t.Error(err)
		}
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestManyLargeMessages sends more messages in pieces than there are calls, from many goroutines both ways.
func TestManyLargeMessages(t *testing.T) {
	const senders, each = 20, 10
	seen := make(chan struct{}, 2*senders*each)
	p := newPair(t, &ServerOpts{MaxCalls: 4, MessageWindow: 5000, StreamWindow: 3000}, &ClientOpts{MaxCalls: 3, MessageWindow: 1 << 10, StreamWindow: 1 << 10}, func(srv *Server, cli *Client) {
		for _, r := range []Registrar{srv, cli} {
			r.registrar().OnMessage("/note", func(b []byte) {
				if !bytes.Equal(b, text(len(b), len(b))) {
					t.Errorf("another message of %d bytes", len(b))
				}
				seen <- struct{}{}
			})
		}
	})
	for k, c := range []*Conn{p.cc, p.sc} {
		for i := range senders {
			go func() {
				for j := range each {
					if err := c.SendMessage(context.Background(), "/note", text(i*j*100+k, i*j*100+k)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
	}
	for range 2 * senders * each {
		await1(t, seen, "the messages")
	}
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}
