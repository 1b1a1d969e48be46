package flyrpc_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
	"github.com/go-flyrpc/flyrpc/transport"
)

// TestReconnectThroughBlackHole: a server that has spoken version 2 is not taken for one of version 1 because a black hole
// swallows one hello.
func TestReconnectThroughBlackHole(t *testing.T) {
	for mode, r := range map[string]flyrpc.Reconnect{"on use": {}, "always": {Mode: flyrpc.ReconnectAlways}} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := flyrpctest.NewServer(t, nil)
				srv.OnMessage("/echo", func(s string) string { return s })
				dials := 0
				cli := flyrpc.NewClient("mem://server", &flyrpc.ClientOpts{
					Reconnect: r,
					DialFunc: func(context.Context, string) (net.Conn, error) {
						near, far := transport.Pipe(nil)
						if dials++; dials == 2 {
							go io.Copy(io.Discard, far)
						} else {
							go srv.ServeConn(far)
						}
						return near, nil
					},
				})
				defer cli.Close()
				if err := cli.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				cli.Conn().Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := cli.Call(ctx, "/echo", "a", nil)
				if mode == "on use" { // one attempt
					failsWith(t, err, flyrpc.Unavailable, flyrpc.NotSent)
					err = cli.Call(ctx, "/echo", "a", nil)
				}
				if err != nil {
					t.Error(err)
				}
				if v := cli.Conn().PeerInfo().Version; v != 2 || dials != 3 {
					t.Errorf("after %d dials the client speaks version %d", dials, v)
				}
			})
		})
	}
}

// servedBy returns the options of a client whose every address is srv.
func servedBy(srv *flyrpc.Server, opts flyrpc.ClientOpts) *flyrpc.ClientOpts {
	opts.DialFunc = func(context.Context, string) (net.Conn, error) {
		near, far := transport.Pipe(nil)
		go srv.ServeConn(far)
		return near, nil
	}
	return &opts
}

// TestHastyCallsOpenNoBreaker: calls that are given too little time say nothing about the servers, nor does what fails at the caller: the others go on.
func TestHastyCallsOpenNoBreaker(t *testing.T) {
	for kind, hasty := range map[string]func(context.Context, *flyrpc.Client){
		"call":    func(ctx context.Context, c *flyrpc.Client) { _ = c.Call(ctx, "/work", nil, nil) },
		"go":      func(ctx context.Context, c *flyrpc.Client) { _ = c.Go(ctx, "/work", nil, nil).Err() },
		"hedged":  func(ctx context.Context, c *flyrpc.Client) { _ = c.Call(flyrpc.WithIdempotent(ctx), "/work", nil, nil) },
		"message": func(ctx context.Context, c *flyrpc.Client) { _ = c.SendMessage(ctx, "/refused here", nil) },
		"stream": func(ctx context.Context, c *flyrpc.Client) {
			for range flyrpc.Receive[string](ctx, c, "/work", nil) {
			}
		},
		"items": func(ctx context.Context, c *flyrpc.Client) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			for range flyrpc.Receive[int](ctx, c, "/forever", nil) {
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := flyrpctest.NewServer(t, nil)
				srv.OnMessage("/echo", func(s string) string { return s })
				srv.OnMessage("/work", func() { time.Sleep(50 * time.Millisecond) })
				srv.OnMessage("/forever", func(ctx context.Context, s *flyrpc.Stream) error {
					for s.Send(1) == nil && ctx.Err() == nil {
						time.Sleep(100 * time.Millisecond)
					}
					return nil
				})
				cli := flyrpc.NewClient("mem://a", servedBy(srv, flyrpc.ClientOpts{
					Balance: flyrpc.Balance{ConnsPerAddr: 3, Hedge: time.Millisecond},
					Intercept: []flyrpc.Interceptor{func(next flyrpc.Invoker) flyrpc.Invoker {
						return func(ctx context.Context, call *flyrpc.Outgoing) error {
							if call.Path == "/refused here" {
								return flyrpc.Errorf(flyrpc.Busy, "too many")
							}
							return next(ctx, call)
						}
					}},
				}))
				defer cli.Close()
				if err := cli.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for range 30 {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
					hasty(ctx, cli)
					cancel()
				}
				begun := time.Now()
				err := cli.Call(t.Context(), "/echo", "x", nil)
				if took := time.Since(begun); err != nil || took > time.Millisecond {
					t.Errorf("a call beside hasty ones took %v, %v", took, err)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// TestHangingServerOpensBreaker: a server that has had Balance.Pause for each of some calls, and has answered none, is left out.
func TestHangingServerOpensBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/hang", func(ctx context.Context) { <-ctx.Done() })
		srv.OnMessage("/echo", func(s string) string { return s })
		cli := flyrpc.NewClient("mem://a", servedBy(srv, flyrpc.ClientOpts{
			Balance: flyrpc.Balance{ConnsPerAddr: 2, Failures: 2, Pause: 300 * time.Millisecond},
		}))
		defer cli.Close()
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		var calls []*flyrpc.Pending
		for range 4 {
			calls = append(calls, cli.Go(ctx, "/hang", nil, nil))
		}
		for _, call := range calls {
			failsWith(t, call.Err(), flyrpc.Timeout, flyrpc.Unknown)
		}
		begun := time.Now()
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil || time.Since(begun) != 300*time.Millisecond {
			t.Errorf("%v after %v: the breakers are closed", err, time.Since(begun))
		}
	})
}

// toldAddrs is a Resolver of the lists that are sent to it.
type toldAddrs chan []string

func (r toldAddrs) Resolve(ctx context.Context, update func([]string)) error {
	for {
		select {
		case addrs := <-r:
			update(addrs)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestCallBackWhenAddressGoes: a call that is open when its address goes may still call the client back.
func TestCallBackWhenAddressGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/work", func(ctx *flyrpc.Context) (s string, err error) {
			time.Sleep(time.Second)
			err = ctx.Call("/back", nil, &s)
			return s, err
		})
		r := make(toldAddrs, 1)
		cli := flyrpc.NewClient("", servedBy(srv, flyrpc.ClientOpts{Resolver: r}))
		defer cli.Close()
		cli.OnMessage("/back", func() string { return "served" })
		r <- []string{"mem://a"}
		var s string
		call := make(chan error, 1)
		go func() { call <- cli.Call(t.Context(), "/work", nil, &s) }()
		time.Sleep(time.Second / 2)
		r <- []string{"mem://b"}
		if err := <-call; err != nil || s != "served" {
			t.Errorf("%q, %v", s, err)
		}
		time.Sleep(time.Minute)
		if n := len(srv.Conns()); n != 1 {
			t.Errorf("%d connections in the end", n)
		}
	})
}
