package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gotPiece is a piece of what the callee answers with.
func gotPiece(seq uint16, part string) Packet { return frameOfCall(fromCallee, seq, pieceCode, part) }

// callerCase is what a raw server answers a call with, and what its caller gets.
type callerCase struct {
	name     string
	answers  []Packet // of the call, whose sequence is put in
	reply    any      // a pointer; nil takes all items with Receive
	want     string   // the reply, or the items
	code     Code
	outcome  Delivery
	canceled bool // the caller sends c
}

func callerCases() []callerCase {
	raw := func(p Packet) Packet { return withMeta(p, MetaSerializer, "") }
	long := strings.Repeat("x", 1000)
	ok := rawAnswer(0, "")
	return []callerCase{
		{"an item for one reply", []Packet{got(0, "1")}, new(int), "", BadRequest, Answered, true},
		{"an item that isn't raw, for bytes", []Packet{got(0, "1")}, new([]byte), "", BadRequest, Answered, true},
		{"raw items for bytes", []Packet{raw(got(0, "ab")), raw(got(0, "")), raw(got(0, "c")), ok}, new([]byte), "abc", "", Answered, false},
		{"raw items for text", []Packet{raw(got(0, "ab")), withMeta(got(0, "c"), MetaSerializer, "t"), ok}, new(string), "abc", "", Answered, false},
		{"raw items, and one that isn't", []Packet{raw(got(0, "ab")), got(0, "1")}, new([]byte), "", BadRequest, Answered, true},
		{"too many raw items", []Packet{raw(got(0, long)), raw(got(0, long)), raw(got(0, long))}, new([]byte), "", TooLong, Answered, true},
		{"as many as may be", []Packet{raw(got(0, long)), raw(got(0, long)), raw(got(0, long[:48])), ok}, new([]byte), long + long + long[:48], "", Answered, false},
		{"raw items and an error", []Packet{raw(got(0, "ab")), refused(0, Conflict, "no")}, new([]byte), "", Conflict, Answered, false},
		{"the only item", []Packet{rawAnswer(0, "7")}, nil, "7", "", Answered, false},
		{"an empty raw body is one", []Packet{raw(rawAnswer(0, ""))}, nil, "", BadRequest, Answered, false},
		{"an empty body is none", []Packet{ok}, nil, "", "", Answered, false},
		{"items", []Packet{got(0, "1"), got(0, "2"), ok}, nil, "1,2", "", Answered, false},
		{"items and an error", []Packet{got(0, "1"), refused(0, Conflict, "no")}, nil, "1", Conflict, Answered, false},
		{"not processed", []Packet{withMeta(refused(0, Busy, "no"), MetaNotProcessed, "")}, nil, "", Busy, NotProcessed, false},
		{"an item that can't be decoded", []Packet{got(0, "1"), got(0, `"x"`)}, nil, "1", BadRequest, Unknown, true},
		{"a long item in pieces", []Packet{got(0, "1"), gotPiece(0, long), gotPiece(0, long), got(0, long)}, nil, "1", TooLong, Unknown, true},
		{"a very long item in pieces", []Packet{got(0, "1"), gotPiece(0, long), gotPiece(0, long), gotPiece(0, strings.Repeat(long, 9)), got(0, "2")}, nil, "1", TooLong, Unknown, true},
		{"an item in pieces", []Packet{gotPiece(0, "1"), gotPiece(0, ""), gotPiece(0, "2"), got(0, "3"), got(0, "4"), ok}, nil, "123,4", "", Answered, false},
		{"an answer in pieces", []Packet{gotPiece(0, "1"), gotPiece(0, "2"), rawAnswer(0, "3")}, new(int), "123", "", Answered, false},
		{"an answer in pieces as an item", []Packet{gotPiece(0, "1"), gotPiece(0, "2"), rawAnswer(0, "3")}, nil, "123", "", Answered, false},
		{"an answer whose metadata is in pieces", []Packet{gotPiece(0, "\x02"), gotPiece(0, "\x04"), {Flag: FlagResponse, Meta: nil, Payload: nil}}, nil, "", BadRequest, Answered, false},
		{"an answer in too many pieces", []Packet{gotPiece(0, long), gotPiece(0, long), rawAnswer(0, long)}, new(string), "", TooLong, Answered, false},
		{"an answer in far too many", []Packet{gotPiece(0, strings.Repeat(long, 9)), gotPiece(0, strings.Repeat(long, 9)), rawAnswer(0, long)}, new(string), "", TooLong, Answered, false},
		{"pieces and an error", []Packet{gotPiece(0, long), refused(0, Conflict, "no")}, new(string), "", Conflict, Answered, false},
		{"pieces of an item and an error", []Packet{got(0, "1"), gotPiece(0, long), refused(0, Conflict, "no")}, nil, "1", Conflict, Answered, false},
		{"unknown frames", []Packet{frameOfCall(fromCallee, 0, "x", ""), frameOfCall(fromCallee, 0, endCode, ""), frameOfCall(fromCallee, 0, cancelCode, ""), rawAnswer(0, "5")}, new(int), "5", "", Answered, false},
		{"META on a piece", []Packet{withMeta(gotPiece(0, "1"), MetaSerializer, "")}, new(int), "", Unavailable, Unknown, false},
		{"ZIPPAYLOAD on a piece", []Packet{frameOfCall(fromCallee|FlagZipPayload, 0, pieceCode, "1")}, new(int), "", Unavailable, Unknown, false},
		{"beyond the window", []Packet{gotPiece(0, strings.Repeat(long, 66))}, new(int), "", Unavailable, Unknown, false},
	}
}

// TestStreamWireCaller holds a client to the wire.
func TestStreamWireCaller(t *testing.T) {
	for _, tt := range callerCases() {
		for _, together := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s, together %v", tt.name, together), func(t *testing.T) {
				checkCallerCase(t, tt, together)
			})
		}
	}
}

func checkCallerCase(t *testing.T, tt callerCase, together bool) {
	cli, w := wireServe(t, &ClientOpts{MaxMessage: 2048, MaxFrame: 100_000, StreamWindow: 64 << 10}, "")
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		if tt.reply != nil {
			r.err = cli.Call(t.Context(), "/x", nil, tt.reply)
			r.text = replyText(tt.reply, r.err)
		} else {
			var items []string
			for n, err := range Receive[int](t.Context(), cli, "/x", nil) {
				if r.err = err; err == nil {
					items = append(items, fmt.Sprint(n))
				}
			}
			r.text = strings.Join(items, ",")
		}
		done <- r
	}()
	call := w.recv()
	for i := range tt.answers {
		tt.answers[i].Sequence = call.Sequence
	}
	w.sendAll(together, tt.answers...)
	r := <-done
	if r.text != tt.want || (tt.code == "") != (r.err == nil) || tt.code != "" && !outcomeIs(r.err, tt.code, tt.outcome) {
		t.Errorf("got %.100q, %v, %v; want %.100q, %s, %v", r.text, r.err, Outcome(r.err), tt.want, tt.code, tt.outcome)
	}
	if tt.code == Unavailable {
		w.wantDropped()
		return
	}
	if tt.canceled {
		w.want(rawCancel(call.Sequence))
		w.send(got(call.Sequence, strings.Repeat("x", 40_000))) // what still comes is dropped, and credit returned
		w.send(gotPiece(call.Sequence, "more"))
		w.send(refused(call.Sequence, Canceled, "cancelled"))
	}
	for i := range 3 { // late frames of the call
		w.sendAll(true, []Packet{got(call.Sequence, "1"), gotPiece(call.Sequence, "2"), rawAnswer(call.Sequence, "3")}[i])
	}
	w.wantAlive()
	wantNothingLeft(t, "client", cli.Conn())
}

func replyText(reply any, err error) string {
	switch p := reply.(type) {
	case *int:
		if err == nil {
			return fmt.Sprint(*p)
		}
	case *[]byte:
		if err == nil {
			return string(*p)
		}
	case *string:
		if err == nil {
			return *p
		}
	}
	return ""
}

// TestSendRequestGetsItems: a raw request is answered with one packet, or fails.
func TestSendRequestGetsItems(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) {
		srv.OnMessage("/items", func() io.Reader { return strings.NewReader("x") })
	})
	_, err := p.cc.SendRequest(bounded(t), "/items", nil)
	wantFailed(t, err, BadRequest, Answered)
	wantNothingLeft(t, "server", p.sc)
}

// TestFramesOfCaller: what a client sends for each kind of call, packet by packet.
func TestFramesOfCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := wireServe(t, nil, `,"frame":40,"window":200,"messages":200`)
		ctx := t.Context()
		s, err := cli.OpenStream(ctx, "/x", 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{1, "a", []byte("b"), nil, strings.NewReader("cd"), strings.Repeat("e", 100)} {
			if err := s.Send(v); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.send(creditFrame(fromCallee, 1<<15|1, 1000))
		}
		s.CloseSend()
		s.CloseSend()
		if err := s.Send(1); !outcomeIs(err, Conflict, NotSent) {
			t.Error(err)
		}
		const seq = 1<<15 | 1
		w.want(opens(seq, "/x", "7"))
		w.want(sent(seq, "1"))
		w.want(withMeta(sent(seq, "a"), MetaSerializer, "t"))
		w.want(withMeta(sent(seq, "b"), MetaSerializer, ""))
		w.want(sent(seq, ""))
		w.want(withMeta(sent(seq, "cd"), MetaSerializer, ""))
		w.want(frameOfCall(fromCaller, seq, pieceCode, "\x03\x04\x01t"))
		w.want(frameOfCall(fromCaller, seq, pieceCode, strings.Repeat("e", 40)))
		w.want(frameOfCall(fromCaller, seq, pieceCode, strings.Repeat("e", 40)))
		if h, payload := w.recvHeader(); h.flag&^3 != fromCaller|FlagMeta || string(payload) != strings.Repeat("e", 20) {
			t.Errorf("%+v %q", h, payload)
		}
		w.want(endFrame(seq))
		w.send(rawAnswer(seq, "8"))
		var n int
		if err := s.Recv(&n); n != 8 || err != nil {
			t.Error(n, err)
		}
		if err := s.Recv(&n); err != io.EOF {
			t.Error(err)
		}
		if err := s.Send(1); err == nil {
			t.Error("sent after the end")
		}
		w.wantAlive()
	})
}

// TestFramesOfLargeMessage: a one-way message in pieces goes with a sequence, and a ping behind it.
func TestFramesOfLargeMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := wireServe(t, nil, `,"frame":40,"calls":1`)
		if err := cli.SendMessage(t.Context(), "/x", json100); err != nil {
			t.Fatal(err)
		}
		const seq = 1<<15 | 1
		w.want(frameOfCall(opening, seq, pieceCode, string(json100[:40])))
		w.want(frameOfCall(opening, seq, pieceCode, string(json100[40:80])))
		w.want(Packet{Sequence: seq, Code: "/x", Payload: json100[80:]})
		w.want(rawRequest(seq, pingPath, ""))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := cli.Call(ctx, "/y", nil, nil) // the only call isn't free yet
		wantFailed(t, err, Timeout, NotSent)
		w.send(rawAnswer(seq, ""))
		synctest.Wait()
		wantNothingLeft(t, "client", cli.Conn())
		ended := make(chan error, 1)
		go func() { ended <- cli.Call(t.Context(), "/y", nil, nil) }()
		w.want(rawRequest(1, "/y", ""))
		w.send(rawAnswer(1, ""))
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// rawJSON is a message that JSON encodes as itself.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

var json100 = rawJSON(`"` + strings.Repeat("0123456789", 9) + `12345678"`)

// TestGivenUpWithinRequest: a caller that gives up while the pieces of its request wait sends c and waits for the answer.
func TestGivenUpWithinRequest(t *testing.T) {
	for _, kind := range []string{"call", "message", "stream"} {
		bubble(t, kind, func(t *testing.T) {
			cli, w := wireServe(t, nil, `,"frame":40,"window":100,"calls":1`)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				switch kind {
				case "call":
					ended <- cli.Call(ctx, "/x", json100, nil)
				case "message":
					ended <- cli.SendMessage(ctx, "/x", json100)
				case "stream":
					_, err := cli.OpenStream(ctx, "/x", json100)
					ended <- err
				}
			}()
			const seq = 1<<15 | 1
			p := w.recv()
			if p.Flag&^3 != opening || p.Code != pieceCode || !bytes.HasPrefix(json100, p.Payload) {
				t.Fatalf("%+v", p)
			}
			for synctest.Wait(); ; synctest.Wait() {
				if cancel(); w.recv().Code == cancelCode {
					break
				}
			}
			if err := <-ended; !errors.Is(err, Canceled) || !errors.Is(err, context.Canceled) || Outcome(err) != NotProcessed && kind != "message" {
				t.Error(err, Outcome(err))
			}
			w.send(withMeta(refused(seq, Canceled, "x"), MetaNotProcessed, ""))
			w.wantAlive()
			wantNothingLeft(t, "client", cli.Conn())
		})
	}
}
