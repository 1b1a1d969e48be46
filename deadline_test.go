package flyrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlineReachesHandler: the deadline travels as the time that is left.
func TestDeadlineReachesHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const left, way = 10 * time.Second, time.Second
		ended := make(chan time.Duration, 1)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/wait", func(ctx *Context) error {
				deadline, ok := ctx.Deadline()
				if d := time.Until(deadline) - left; !ok || d < 0 || d > time.Millisecond {
					t.Errorf("the deadline is in %v, want %v", time.Until(deadline), left)
				}
				begin := time.Now()
				<-ctx.Done()
				ended <- time.Since(begin)
				if ctx.Err() != context.DeadlineExceeded || context.Cause(ctx) != context.DeadlineExceeded {
					t.Error(ctx.Err(), context.Cause(ctx))
				}
				return ctx.Err()
			})
			srv.OnMessage("/none", func(ctx *Context) error {
				if _, ok := ctx.Deadline(); ok {
					t.Error("a deadline, though the caller has none")
				}
				return nil
			})
		})
		p.up.SetDelay(way)
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		begin := time.Now()
		call := p.cli.Go(ctx, "/wait", nil, nil)
		p.up.SetDelay(5 * way) // the deadline passes before the cancellation comes
		err := call.Err()
		wantFailed(t, err, Timeout, Unknown)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != left {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if d := <-ended; d < left || d > left+time.Millisecond {
			t.Errorf("the handler's context ended after %v", d)
		}
		if err := p.cli.Call(t.Context(), "/none", nil, nil); err != nil {
			t.Error(err)
		}
		wantEmpty(t, "client", p.cc)
	})
}

// TestDeadlineErrWithoutDone: Err tells that the deadline has passed, though nobody waits
// for Done.
func TestDeadlineErrWithoutDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 3)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/x", func(ctx *Context) {
				errs <- ctx.Err()
				deadline, _ := ctx.Deadline()
				time.Sleep(time.Until(deadline))
				errs <- ctx.Err()
				<-ctx.Done()
				errs <- ctx.Err()
			})
		})
		p.up.SetDelay(time.Second) // the cancellation comes later than the deadline passes
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		wantFailed(t, p.cli.Call(ctx, "/x", nil, nil), Timeout, Unknown)
		first, second, third := <-errs, <-errs, <-errs
		if first != nil || second == nil || third != second {
			t.Error(first, second, third)
		}
	})
}

// timeoutMeta is a request's metadata with the time that is left.
func timeoutMeta(us uint64) []byte {
	return AppendMeta(nil, MetaTimeout, "", binary.AppendUvarint(nil, us))
}

// TestExpiredBeforeStart: what has no time left when its turn comes isn't started.
func TestExpiredBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, nil)
		ran := 0
		srv.OnMessage("/turn", func(hold bool) {
			if hold {
				time.Sleep(20 * time.Second)
				return
			}
			ran++
		}, Ordered)
		peer := rawClient(t, srv, textHello)
		for i, us := range []uint64{0, 19_000_000, 21_000_000, 1<<64 - 1} {
			q := rawRequest(uint16(i+2), "/turn", "false")
			q.Meta = timeoutMeta(us)
			if i == 0 {
				peer.send(rawRequest(1, "/turn", "true"))
			}
			peer.send(q)
		}
		for i, code := range []Code{"", Timeout, Timeout, "", ""} {
			a := peer.recv()
			if a.Sequence != uint16(i+1) || a.Code != string(code) || metaHas(a, MetaNotProcessed) != (code != "") {
				t.Errorf("%d: got %+v, want %q", i+1, a, code)
			}
		}
		if ran != 2 {
			t.Errorf("%d handlers ran", ran)
		}
	})
}

// TestBadTimeout: a timeout that is no uvarint is a bad request.
func TestBadTimeout(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	srv.OnMessage("/x", func() { t.Error("handled") })
	peer := rawClient(t, srv, textHello)
	for _, value := range []string{"", "\x80", "\x01\x01", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"} {
		q := rawRequest(5, "/x", "")
		q.Meta = AppendMeta(nil, MetaTimeout, "", value)
		peer.send(q)
		if a := peer.recv(); a.Code != string(BadRequest) || !metaHas(a, MetaNotProcessed) {
			t.Errorf("%q: %+v", value, a)
		}
	}
}

// TestSlotsLostClose: a quarter of the calls lost for 30 s close the connection, which is
// logged, and fewer don't.
func TestSlotsLostClose(t *testing.T) {
	for _, n := range []int{4, 3} {
		synctest.Test(t, func(t *testing.T) {
			peer, cli, log := rawServer(t, &ClientOpts{KeepaliveTime: -1}, jsonAnswer(16))
			for range n {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				wantFailed(t, cli.Call(ctx, "/lost", nil, nil), Timeout, Unknown)
				cancel()
			}
			for range 2 * n { // the requests and their cancellations
				peer.recv()
			}
			_ = peer.conn.SetReadDeadline(time.Time{})
			open := cli.Go(t.Context(), "/open", nil, nil)
			time.Sleep(lostAfter - 2*time.Second)
			if err := cli.Conn().Err(); err != nil {
				t.Fatal("closed early:", err)
			}
			time.Sleep(2 * lostAfter)
			if closed := cli.Conn().Err() != nil; closed != (n == 4) {
				t.Fatalf("%d calls lost: %v", n, cli.Conn().Err())
			}
			if n == 4 {
				wantFailed(t, open.Err(), Unavailable, Unknown)
				synctest.Wait()
				log.want(t, "a quarter of the calls")
				log.want(t, "level=WARN")
			}
		})
	}
}
