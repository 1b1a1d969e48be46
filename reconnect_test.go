package flyrpc_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

// always are the options of a client that keeps its connection up.
func always(r flyrpc.Reconnect) *flyrpc.ClientOpts {
	r.Mode = flyrpc.ReconnectAlways
	return &flyrpc.ClientOpts{Reconnect: r}
}

// workServer returns a server whose /work takes a second and counts, and whose /note appends to what notes returns.
func workServer(t *testing.T) (srv *flyrpc.Server, works *atomic.Int32, notes func() []string) {
	t.Helper()
	works = new(atomic.Int32)
	var mu sync.Mutex
	var got []string
	srv = flyrpctest.NewServer(t, nil)
	srv.OnMessage("/work", func(ctx context.Context) (int32, error) {
		n := works.Add(1)
		select {
		case <-time.After(time.Second):
			return n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	srv.OnMessage("/note", func(s string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, s)
	}, flyrpc.Ordered)
	srv.OnMessage("/echo", func(s string) string { return s })
	return srv, works, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

// TestReconnectInFlight: of what was in flight when the connection was lost only idempotent calls are made again.
func TestReconnectInFlight(t *testing.T) {
	for mode, opts := range map[string]*flyrpc.ClientOpts{"on use": nil, "always": always(flyrpc.Reconnect{})} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, works, _ := workServer(t)
				cli := flyrpctest.NewClient(t, srv, opts)
				idempotent := flyrpc.WithIdempotent(t.Context())
				plain := cli.Go(t.Context(), "/work", nil, nil)
				again := cli.Go(idempotent, "/work", nil, nil)
				direct := make(chan error, 1)
				go func() { direct <- cli.Call(idempotent, "/work", nil, nil) }()
				onConn := cli.Conn().Go(idempotent, "/work", nil, nil)
				time.Sleep(time.Second / 2)
				begin := time.Now()
				cli.Link.Reset()
				failsWith(t, plain.Err(), flyrpc.Unavailable, flyrpc.Unknown)
				failsWith(t, onConn.Err(), flyrpc.Unavailable, flyrpc.Unknown)
				if d := time.Since(begin); d != 0 {
					t.Errorf("what isn't made again ended after %v", d)
				}
				if err := errors.Join(again.Err(), <-direct); err != nil {
					t.Error(err)
				}
				if n := works.Load(); n != 6 {
					t.Errorf("%d were executed, want 4 and 2 again", n)
				}
			})
		})
	}
}

// TestReconnectNever: nothing is made again.
func TestReconnectNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, works, _ := workServer(t)
		cli := flyrpctest.NewClient(t, srv, &flyrpc.ClientOpts{Reconnect: flyrpc.Reconnect{Mode: flyrpc.ReconnectNever}})
		call := cli.Go(flyrpc.WithIdempotent(t.Context()), "/work", nil, nil)
		time.Sleep(time.Second / 2)
		cli.Link.Reset()
		failsWith(t, call.Err(), flyrpc.Unavailable, flyrpc.Unknown)
		failsWith(t, cli.SendMessage(t.Context(), "/note", "x"), flyrpc.Unavailable, flyrpc.NotSent)
		time.Sleep(time.Minute)
		if cli.State() != flyrpc.Idle || works.Load() != 1 {
			t.Errorf("%v, %d calls", cli.State(), works.Load())
		}
	})
}

// TestReconnectOnUse: the next use dials, once, and what serves the server's calls is there again.
func TestReconnectOnUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, notes := workServer(t)
		cli := flyrpctest.NewClient(t, srv, nil)
		cli.OnMessage("/push", func() string { return "served" })
		cli.Host.Stop()
		synctest.Wait()
		if s := cli.State(); s != flyrpc.Idle {
			t.Error(s)
		}
		failsWith(t, cli.Call(t.Context(), "/echo", "x", nil), flyrpc.Unavailable, flyrpc.NotSent)
		cli.Host.Start(nil)
		time.Sleep(time.Hour)
		if n := cli.Link.Dials(); n != 1 {
			t.Errorf("%d dials, want none without use", n)
		}
		if err := cli.SendMessage(t.Context(), "/note", "x"); err != nil {
			t.Fatal(err)
		}
		if got, err := flyrpc.Call[string](t.Context(), cli.ServerConn(), "/push", nil); got != "served" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if got := notes(); len(got) != 1 || cli.State() != flyrpc.Connected {
			t.Error(got, cli.State())
		}
	})
}

// TestReconnectHalfSent: a request of which only a part was sent is sent again as a whole.
func TestReconnectHalfSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		large := strings.Repeat("x", 300_000)
		cli.Link.Up.CloseAfter(100_000)
		if got, err := flyrpc.Call[string](t.Context(), cli, "/echo", large); got != large || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if n := cli.Link.Dials(); n != 2 {
			t.Errorf("%d dials", n)
		}
	})
}

// TestReconnectBackoff: the pauses grow to MaxPause, never beyond, and are random.
func TestReconnectBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		srv, _, _ := workServer(t)
		h := flyrpctest.Serve(t, srv)
		link := h.NewLink()
		link.RefuseDials(errors.New("no route"))
		opts := always(flyrpc.Reconnect{Backoff: time.Second, MaxPause: 8 * time.Second, OnStateChange: func(s flyrpc.State, err error) {
			if s == flyrpc.Connecting {
				dials = append(dials, time.Now())
			}
		}})
		opts.Transports, opts.Logger = append(opts.Transports, link), flyrpctest.NewLogger(t)
		cli := flyrpc.NewClient(h.Addr(), opts)
		defer cli.Close()
		failsWith(t, cli.Connect(t.Context()), flyrpc.Unavailable, flyrpc.NotSent)
		time.Sleep(10 * time.Minute)
		link.RefuseDials(nil)
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same := true
		var total time.Duration
		for i := 1; i < len(dials); i++ {
			d := dials[i].Sub(dials[i-1])
			if most := min(8*time.Second, time.Second<<min(i-1, 10)); d > most+time.Nanosecond {
				t.Errorf("pause %d took %v, more than %v", i, d, most)
			}
			same = same && (i < 5 || d == dials[i-1].Sub(dials[i-2]))
			total += d
		}
		if mean := total / time.Duration(len(dials)-1); same || mean < 3*time.Second || mean > 5*time.Second {
			t.Errorf("%d pauses of %v, all the same: %v", len(dials)-1, mean, same)
		}
	})
}

// TestReconnectAttempts: after so many failures the client gives up, says so to who waits, and begins anew with the next use.
func TestReconnectAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{Attempts: 3}))
		refused := errors.New("no route")
		cli.Link.RefuseDials(refused)
		cli.Link.Reset()
		for range 2 {
			err := cli.Call(t.Context(), "/echo", "x", nil)
			failsWith(t, err, flyrpc.Unavailable, flyrpc.NotSent)
			if !errors.Is(err, refused) {
				t.Error(err)
			}
			if s := cli.State(); s != flyrpc.Idle {
				t.Error(s)
			}
			time.Sleep(time.Hour)
		}
		cli.Link.RefuseDials(nil)
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil || cli.State() != flyrpc.Connected {
			t.Error(err, cli.State())
		}
	})
}

// TestReconnectRepeats: a call isn't made again more often than Repeats says, nor after its deadline, and then tells the worst outcome.
func TestReconnectRepeats(t *testing.T) {
	for _, repeats := range []int{-1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			srv, works, _ := workServer(t)
			srv.OnMessage("/crash", func(ctx *flyrpc.Context) error {
				works.Add(1)
				ctx.Conn().Close()
				return nil
			})
			cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{Repeats: repeats}))
			err := cli.Call(flyrpc.WithIdempotent(t.Context()), "/crash", nil, nil)
			failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
			if n := int(works.Load()); n != 1+max(0, repeats) {
				t.Errorf("%d calls with %d repeats", n, repeats)
			}
			if repeats < 0 {
				return
			}
			ctx, cancel := context.WithTimeout(flyrpc.WithIdempotent(t.Context()), 10*time.Second)
			defer cancel()
			call := cli.Go(ctx, "/work", nil, nil)
			time.Sleep(time.Second / 2)
			cli.Host.Stop()
			failsWith(t, call.Err(), flyrpc.Timeout, flyrpc.Unknown) // it was in flight once
		})
	}
}

// TestReconnectRefused: what waits fails when the server refuses the client for what doesn't pass by itself, and waits on when it is busy.
func TestReconnectRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refusal atomic.Pointer[flyrpc.Code]
		refuse := func(c flyrpc.Code) { refusal.Store(&c) }
		srv := flyrpctest.NewServer(t, &flyrpc.ServerOpts{Auth: func(context.Context, *flyrpc.Credentials) (any, error) {
			if c := refusal.Load(); c != nil && *c != "" {
				return nil, *c
			}
			return nil, nil
		}})
		srv.OnMessage("/echo", func(s string) string { return s })
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		refuse(flyrpc.Forbidden)
		cli.Link.Reset()
		failsWith(t, cli.Call(t.Context(), "/echo", "x", nil), flyrpc.Forbidden, flyrpc.NotProcessed)
		refuse(flyrpc.Busy)
		call := make(chan error, 1)
		go func() { call <- cli.Call(t.Context(), "/echo", "x", nil) }()
		time.Sleep(20 * time.Second)
		refuse("")
		if err := <-call; err != nil {
			t.Error(err)
		}
	})
}

// TestReconnectBye: a client whose server says bye has another connection before anything fails; what is open goes on.
func TestReconnectBye(t *testing.T) {
	for mode, opts := range map[string]*flyrpc.ClientOpts{"on use": nil, "always": always(flyrpc.Reconnect{})} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _, _ := workServer(t)
				cli := flyrpctest.NewClient(t, srv, opts)
				work := cli.Go(t.Context(), "/work", nil, nil)
				synctest.Wait()
				next, _, _ := workServer(t)
				go srv.Shutdown(t.Context())
				synctest.Wait()
				cli.Host.Start(next)
				if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil {
					t.Error(err)
				}
				if err := cli.SendMessage(t.Context(), "/note", "x"); err != nil {
					t.Error(err)
				}
				if len(next.Conns()) != 1 {
					t.Errorf("%d connections", len(next.Conns()))
				}
				if err := work.Err(); err != nil {
					t.Error("a call that was open:", err)
				}
			})
		})
	}
}

// TestReconnectIdle: a connection that the client itself ends because it is idle is made anew when it is used.
func TestReconnectIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		opts := always(flyrpc.Reconnect{})
		opts.IdleTimeout = time.Minute
		cli := flyrpctest.NewClient(t, srv, opts)
		time.Sleep(time.Hour)
		if s := cli.State(); s != flyrpc.Idle || cli.Link.Dials() != 1 {
			t.Error(s, cli.Link.Dials())
		}
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil || cli.State() != flyrpc.Connected {
			t.Error(err, cli.State())
		}
	})
}

// TestReconnectAnswered: an answer is never asked for again, whatever its code.
func TestReconnectAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, works, _ := workServer(t)
		srv.OnMessage("/no", func() error { works.Add(1); return flyrpc.Unavailable })
		srv.OnMessage("/never", func(ctx *flyrpc.Context) error {
			works.Add(1)
			return ctx.Refuse(flyrpc.Errorf(flyrpc.Unavailable, "not now"))
		})
		cli := flyrpctest.NewClient(t, srv, nil)
		failsWith(t, cli.Call(flyrpc.WithIdempotent(t.Context()), "/no", nil, nil), flyrpc.Unavailable, flyrpc.Answered)
		if n := works.Swap(0); n != 1 {
			t.Errorf("%d calls", n)
		}
		failsWith(t, cli.Call(t.Context(), "/never", nil, nil), flyrpc.Unavailable, flyrpc.NotProcessed)
		if n := works.Load(); n != 4 {
			t.Errorf("%d calls that were not processed", n)
		}
	})
}

// TestReconnectReaders: what carries an io.Reader waits for a connection, but isn't made again.
func TestReconnectReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, works, _ := workServer(t)
		srv.OnMessage("/upload", func(ctx context.Context, r io.Reader) (int, error) {
			works.Add(1)
			time.Sleep(time.Second)
			b, err := io.ReadAll(r)
			return len(b), err
		})
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		cli.Host.Stop()
		synctest.Wait()
		time.AfterFunc(time.Second, func() { cli.Host.Start(nil) })
		var n int
		ctx := flyrpc.WithIdempotent(t.Context())
		if err := cli.Call(ctx, "/upload", strings.NewReader("1234"), &n); err != nil || n != 4 {
			t.Error(n, err)
		}
		call := cli.Go(ctx, "/upload", strings.NewReader("1234"), &n)
		time.Sleep(time.Second / 2)
		cli.Link.Reset()
		failsWith(t, call.Err(), flyrpc.Unavailable, flyrpc.Unknown)
		if got := works.Load(); got != 2 {
			t.Errorf("%d calls", got)
		}
	})
}
