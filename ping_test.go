package flyrpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPing measures the way there and back, in both directions and from handlers.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/ping", func(ctx *Context) (string, error) {
				d, err := ctx.Ping(1, time.Minute)
				return d.String(), err
			})
		})
		p.up.SetDelay(time.Second)
		p.down.SetDelay(2 * time.Second)
		for _, c := range []*Conn{p.cc, p.sc} {
			for _, n := range []int{0, 1, maxPing} {
				if d, err := c.Ping(n, time.Minute); err != nil || d != 3*time.Second {
					t.Errorf("%d bytes: %v, %v", n, d, err)
				}
			}
			for _, n := range []int{-1, maxPing + 1} {
				_, err := c.Ping(n, time.Minute)
				wantFailed(t, err, BadRequest, NotSent)
			}
			if d, err := c.Ping(0, 0); err != nil || d != 3*time.Second {
				t.Errorf("without a timeout: %v, %v", d, err)
			}
			begin := time.Now()
			_, err := c.Ping(0, time.Second)
			wantFailed(t, err, Timeout, Unknown)
			if time.Since(begin) != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
		}
		if d, err := Call[string](t.Context(), p.cli, "/ping", nil); err != nil || d != "3s" {
			t.Errorf("from a handler: %s, %v", d, err)
		}
		wantEmpty(t, "client", p.cc)
		wantEmpty(t, "server", p.sc)
	})
}

// TestPingTakesNoSlot: pings work when every call is taken, in both directions.
func TestPingTakesNoSlot(t *testing.T) {
	p := newPair(t, &ServerOpts{MaxCalls: 2}, &ClientOpts{MaxCalls: 2}, func(srv *Server, cli *Client) {
		for _, r := range []Registrar{srv, cli} {
			r.registrar().OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var calls []*Pending
	for range 2 {
		calls = append(calls, p.cc.Go(ctx, "/wait", nil, nil), p.sc.Go(ctx, "/wait", nil, nil))
	}
	for range 3 * maxPings {
		for _, c := range []*Conn{p.cc, p.sc} {
			if _, err := c.Ping(8, patience); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	for _, call := range calls {
		wantFailed(t, call.Err(), Canceled, Unknown)
	}
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// TestPingsInFlight: at most 64 pings are in flight; those that were given up count until
// their pong comes, and cost no calls.
func TestPingsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, _ := rawServer(t, &ClientOpts{KeepaliveTime: -1}, jsonAnswer(1))
		for range maxPings {
			_, err := cli.Ping(3, time.Second)
			wantFailed(t, err, Timeout, Unknown)
		}
		_, err := cli.Ping(3, time.Second)
		wantFailed(t, err, Busy, NotSent)
		time.Sleep(2 * lostAfter)
		seen := map[uint16]bool{}
		for range maxPings {
			q := peer.recv()
			if q.Code != "fly.ping" || q.Flag != FlagWait || q.Sequence == 0 || seen[q.Sequence] || len(q.Payload) != 3 {
				t.Fatalf("%+v", q)
			}
			seen[q.Sequence] = true
		}
		for seq := range seen {
			peer.send(Packet{Flag: FlagResponse, Sequence: seq, Code: "ANY", Payload: []byte("late")})
		}
		synctest.Wait()
		wantEmpty(t, "client", cli.Conn())
		pong := make(chan error, 1)
		go func() {
			_, err := cli.Ping(0, time.Minute)
			pong <- err
		}()
		q := peer.recv()
		peer.send(Packet{Flag: FlagResponse, Sequence: q.Sequence, Code: "NOT_FOUND"})
		if err := <-pong; err != nil {
			t.Error("any answer is a pong:", err)
		}
	})
}

// TestPong: pings are answered with what they bring, up to 1,024 bytes.
func TestPong(t *testing.T) {
	srv, _ := newLogServer(t, &ServerOpts{MaxCalls: 1})
	peer := rawClient(t, srv, textHello)
	for seq, text := range []string{"", "x", strings.Repeat("y", maxPing)} {
		peer.send(rawRequest(uint16(seq+1), "fly.ping", text))
		if a := peer.recv(); a.Flag != FlagResponse || a.Sequence != uint16(seq+1) || a.Code != "" || string(a.Payload) != text {
			t.Errorf("%d bytes: %+v", len(text), a)
		}
	}
	peer.send(rawRequest(9, "fly.ping", strings.Repeat("y", maxPing+1)))
	if a := peer.recv(); a.Code != string(TooLong) {
		t.Errorf("too long: %+v", a)
	}
}

// TestPingAndLoss: a ping ends with its connection.
func TestPingAndLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, _ := rawServer(t, nil, jsonAnswer(1))
		errs := make(chan error, 1)
		go func() {
			_, err := cli.Ping(3, 0)
			errs <- err
		}()
		peer.recv()
		peer.conn.Close()
		wantFailed(t, <-errs, Unavailable, Unknown)
		_, err := cli.Ping(3, 0)
		wantFailed(t, err, Unavailable, NotSent)
	})
}
