package flyrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestMessageLimit: at the limit requests and replies pass, over it they are refused where they are
// made, and the connection lives on.
func TestMessageLimit(t *testing.T) {
	const limit = 5000
	for name, c := range map[string]struct{ server, client int }{"server": {limit, 0}, "client": {0, limit}, "both": {limit, limit}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, &ServerOpts{MaxMessage: c.server}, &ClientOpts{MaxMessage: c.client}, func(srv *Server, cli *Client) {
				for r, most := range map[Registrar]int{srv: c.server, cli: c.client} {
					r.registrar().OnMessage("/take", func(b []byte) {
						if most > 0 && len(b) > most {
							t.Errorf("%d bytes were handled", len(b))
						}
					})
					r.registrar().OnMessage("/give", func(n int) []byte { return make([]byte, n) })
				}
			})
			ctx := bounded(t)
			for conn, limited := range map[*Conn]bool{p.cc: c.server > 0, p.sc: c.client > 0} {
				if err := conn.Call(ctx, "/take", make([]byte, limit), nil); err != nil {
					t.Error(err)
				}
				err := conn.Call(ctx, "/take", make([]byte, limit+1), nil)
				sent := conn.SendMessage(ctx, "/take", make([]byte, 2*limit))
				if limited {
					wantFailed(t, err, TooLong, NotSent)
					wantFailed(t, sent, TooLong, NotSent)
				} else if err != nil || sent != nil {
					t.Error(err, sent)
				}
			}
			for conn, limited := range map[*Conn]bool{p.cc: c.client > 0, p.sc: c.server > 0} {
				var got []byte
				if err := conn.Call(ctx, "/give", limit, &got); err != nil || len(got) != limit {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				err := conn.Call(ctx, "/give", limit+1, &got)
				if limited {
					wantFailed(t, err, TooLong, Answered)
				} else if err != nil {
					t.Error(err)
				}
			}
			wantEmpty(t, "client", p.cc)
		})
	}
}

// TestLimitsOfRawPeers: a request over a limit is answered BUFF_TOO_LONG, not processed, and the next
// one is served.
func TestLimitsOfRawPeers(t *testing.T) {
	const message, frame = 1000, 2000
	srv, log := newLogServer(t, &ServerOpts{MaxMessage: message, MaxFrame: frame})
	srv.OnMessage("/len", func(b []byte) int { return len(b) })
	srv.OnMessage("/none", func([]byte) { t.Error("handled") })
	peer := rawClient(t, srv, textHello)
	seq := uint16(0)
	for n, ok := range map[int]bool{message: true, message + 1: false, frame: false, frame + 1: false, maxSkip * frame: false} {
		seq++
		q := rawRequest(seq, "/len", strings.Repeat("1", n))
		if n < frame {
			q.Meta = AppendMeta(nil, MetaSerializer, "", rawBytes)
		}
		peer.send(q, Packet{Code: "/none", Payload: make([]byte, frame+1)})
		a := peer.recv()
		if a.Sequence != seq || (a.Code == "") != ok || !ok && (a.Code != string(TooLong) || !metaHas(a, MetaNotProcessed)) {
			t.Errorf("%d bytes: %+v", n, a)
		}
	}
	log.want(t, "message dropped")
	peer.send(rawRequest(77, "/len", strings.Repeat("1", maxSkip*frame+1)))
	peer.wantClosed()
	log.want(t, "level=WARN")
}

// TestAbsurdLength: a length that nobody can mean closes the connection, and takes no memory.
func TestAbsurdLength(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	peer := rawClient(t, srv, textHello)
	if _, err := peer.conn.Write([]byte("\x43\x00\x01/x\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")); err != nil {
		t.Fatal(err)
	}
	peer.wantClosed()
}

// TestLongAnswers: an answer over the limit fails its call alone.
func TestLongAnswers(t *testing.T) {
	peer, cli, _ := rawServer(t, &ClientOpts{MaxMessage: 100, MaxFrame: 200}, jsonAnswer(4))
	for _, n := range []int{101, 201, 200 * maxSkip} {
		call := cli.Go(bounded(t), "/x", nil, new(any))
		q := peer.recv()
		peer.send(rawAnswer(q.Sequence, strings.Repeat("1", n)))
		wantFailed(t, call.Err(), TooLong, Answered)
	}
	var got string
	call := cli.Go(bounded(t), "/x", nil, &got)
	q := peer.recv()
	peer.send(rawAnswer(q.Sequence, `"short"`))
	if err := call.Err(); err != nil || got != "short" {
		t.Errorf("%q, %v", got, err)
	}
	wantEmpty(t, "client", cli.Conn())
}

// TestPeerWithSmallFrame: error messages are cut to what the other end takes in one packet.
func TestPeerWithSmallFrame(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	srv.OnMessage("/fail", func(n int) error { return errors.New(strings.Repeat("ž", n)) })
	for _, limit := range []string{`"frame":50`, `"message":50`} {
		peer := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],`+limit+`}`)
		peer.send(rawRequest(1, "/fail", "1000"))
		a := peer.recv()
		if a.Code != string(Failed) || len(a.Payload) > 50 || len(a.Payload) < 40 || strings.Trim(string(a.Payload), "ž") != "" {
			t.Errorf("%s: %d bytes, %+v", limit, len(a.Payload), a)
		}
	}
}

// TestPathAndMetadataLimits: paths of 4,096 bytes and what metadata may have pass, more doesn't.
func TestPathAndMetadataLimits(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	path := "/" + strings.Repeat("p", maxCodeLen-1)
	srv.OnMessage(path, func(ctx *Context) int { return len(ctx.Meta()) })
	peer := rawClient(t, srv, textHello)
	for n, ok := range map[int]bool{maxMetaEntries: true, maxMetaEntries + 1: false} {
		q := rawRequest(uint16(n), path, "")
		for i := range n {
			q.Meta = AppendMeta(q.Meta, MetaKey, fmt.Sprint(i), "v")
		}
		peer.send(q)
		if a := peer.recv(); (a.Code == "") != ok || !ok && (a.Code != string(BadRequest) || !metaHas(a, MetaNotProcessed)) || ok && string(a.Payload) != fmt.Sprint(n) {
			t.Errorf("%d entries: %.100q", n, a)
		}
	}
	for n, ok := range map[int]bool{maxMetaLen: true, maxMetaLen + 1: false} {
		entry := AppendMeta(nil, 99, "", make([]byte, n-3))
		payload := append(binary.AppendUvarint(nil, uint64(len(entry))), entry...)
		raw := appendHeader(nil, FlagWait|FlagMeta, 5, path, nil, len(payload))
		if _, err := peer.conn.Write(append(raw, payload...)); err != nil {
			t.Fatal(err)
		}
		if a := peer.recv(); len(entry) != n || (a.Code == "") != ok || !ok && a.Code != string(BadRequest) {
			t.Errorf("%d bytes, %d: %.100q", n, len(entry), a)
		}
	}
	if _, err := peer.conn.Write([]byte("\x40\x00\x01" + path + "p\x00\x00")); err != nil {
		t.Fatal(err)
	}
	peer.wantClosed()

	p := newPair(t, nil, nil, func(srv *Server, cli *Client) { srv.OnMessage(path, func(ctx *Context) int { return len(ctx.Meta()) }) })
	wantFailed(t, p.cli.Call(bounded(t), path+"p", nil, nil), BadRequest, NotSent)
	wantFailed(t, p.cli.SendMessage(bounded(t), path+"p", nil), BadRequest, NotSent)
	ctx := bounded(t)
	most := maxMetaEntries - metaReserveEntries
	for i := range most {
		ctx = WithMeta(ctx, fmt.Sprint(i), "v")
	}
	if got, err := Call[int](ctx, p.cli, path, nil); err != nil || got != most {
		t.Errorf("%d entries: %d, %v", most, got, err)
	}
	wantFailed(t, p.cli.Call(WithMeta(ctx, "more", ""), path, nil, nil), TooLong, NotSent)
	wantFailed(t, p.cli.Call(WithMeta(bounded(t), "a", strings.Repeat("x", maxMetaLen)), path, nil, nil), TooLong, NotSent)
	wantEmpty(t, "client", p.cc)
}

// TestPeerThatDoesNotRead: senders wait at MaxQueued, the connection is cut at WriteTimeout and the
// reason logged, and other connections don't notice.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout, queued = 7 * time.Second, 20_000
		srv, log := newLogServer(t, &ServerOpts{MaxQueued: queued, WriteTimeout: timeout})
		srv.OnMessage("/echo", func(s string) string { return s })
		peer := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],"messages":10000000}`)
		other := rawClient(t, srv, textHello)
		synctest.Wait()
		conn := srv.Conns()[0]
		var sent atomic.Int32
		lost := make(chan error, 1)
		begin := time.Now()
		go func() {
			for {
				if err := conn.SendMessage(t.Context(), "/x", make([]byte, 1000)); err != nil {
					lost <- err
					return
				}
				sent.Add(1)
			}
		}()
		synctest.Wait()
		if n := sent.Load() * 1000; n < queued || n > 2*queued+transport.DefaultPipeBuffer {
			t.Errorf("%d bytes were taken", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		wantFailed(t, conn.SendMessage(ctx, "/x", make([]byte, 1000)), Timeout, NotSent)
		cancel()
		for time.Since(begin) < timeout-time.Second {
			time.Sleep(time.Second)
			other.send(rawRequest(1, "/echo", `"here"`))
			if a := other.recv(); string(a.Payload) != "here" {
				t.Fatalf("%+v", a)
			}
		}
		wantFailed(t, <-lost, Unavailable, NotSent)
		if time.Since(begin) != timeout {
			t.Errorf("cut after %v", time.Since(begin))
		}
		synctest.Wait()
		log.want(t, "level=WARN")
		log.want(t, "has read nothing for 7s")
		other.send(rawRequest(1, "/echo", `"here"`))
		if a := other.recv(); string(a.Payload) != "here" {
			t.Errorf("%+v", a)
		}
		_ = peer
	})
}

// TestSlowReaderIsKept: a peer that reads a little within each WriteTimeout is not cut.
func TestSlowReaderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, &ServerOpts{WriteTimeout: 2 * time.Second})
		srv.OnMessage("/big", func() []byte { return make([]byte, 300_000) })
		peer := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],"window":1000000}`)
		peer.send(rawRequest(1, "/big", ""))
		_ = peer.conn.SetReadDeadline(time.Time{})
		got := 0
		for b := make([]byte, 10_000); got < 300_000; time.Sleep(time.Second) {
			n, err := peer.conn.Read(b)
			if err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			got += n
		}
	})
}

// TestOwnAnswers: at most 64 answers of the reader itself wait for a peer that doesn't read.
func TestOwnAnswers(t *testing.T) {
	for name, q := range map[string]Packet{
		"ping":    rawRequest(1, "fly.ping", strings.Repeat("x", 1000)),
		"unknown": rawRequest(1, "/nobody/"+strings.Repeat("x", 1000), ""),
	} {
		synctest.Test(t, func(t *testing.T) {
			srv, log := newLogServer(t, nil)
			peer := rawClient(t, srv, textHello)
			b, err := AppendPacket(nil, &q)
			sent := 0
			for ; sent < 10_000 && err == nil; sent++ {
				_, err = peer.conn.Write(b)
				synctest.Wait()
			}
			// 64 KiB are in the pipe, 64 being written and 64 wait
			if sent < 64 || sent > 64+2*maxOwn+10 {
				t.Errorf("%s: closed after %d", name, sent)
			}
			log.want(t, "the peer doesn't read")
		})
	}
}

// TestHandlersThatCallEachOther: two ends full of handlers that call each other don't lock up: what
// gets no slot within HandlerWait fails with BUSY and was not sent.
func TestHandlersThatCallEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, wait = 4, 3 * time.Second
		var busy atomic.Int32
		p := newPair(t, &ServerOpts{MaxCalls: limit, HandlerWait: wait}, &ClientOpts{MaxCalls: limit, HandlerWait: wait}, func(srv *Server, cli *Client) {
			for _, r := range []Registrar{srv, cli} {
				r.registrar().OnMessage("/bounce", func(ctx *Context, n int) error {
					if n == 0 {
						return nil
					}
					err := ctx.Call("/bounce", n-1, nil)
					if errors.Is(err, Busy) && Outcome(err) == NotSent {
						busy.Add(1)
					}
					return err
				})
			}
		})
		begin := time.Now()
		var wg sync.WaitGroup
		for range 5 * limit {
			for _, c := range []*Conn{p.cc, p.sc} {
				wg.Go(func() {
					if err := c.Call(t.Context(), "/bounce", 6, nil); err != nil && !errors.Is(err, Busy) {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if busy.Load() == 0 || time.Since(begin) > 40*wait {
			t.Errorf("%d busy after %v", busy.Load(), time.Since(begin))
		}
		for _, c := range []*Conn{p.cc, p.sc} { // as deep as there is room, now that it is quiet
			if err := c.Call(t.Context(), "/bounce", 2*limit-1, nil); err != nil {
				t.Error(err)
			}
			wantFailed(t, c.Call(t.Context(), "/bounce", 2*limit, nil), Busy, Answered)
		}
		wantEmpty(t, "client", p.cc)
		wantEmpty(t, "server", p.sc)
	})
}
