package flyrpc_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
	"github.com/go-flyrpc/flyrpc/transport"
)

// TestReceiveDialsOnce: a Receive that can't be opened fails as a Call does, after as many attempts and as long.
func TestReceiveDialsOnce(t *testing.T) {
	tests := map[string]struct {
		r     flyrpc.Reconnect
		dials int
		takes time.Duration
	}{
		"on use":    {flyrpc.Reconnect{}, 1, 0},
		"fail fast": {flyrpc.Reconnect{Mode: flyrpc.ReconnectAlways, FailFast: true}, 1, 0},
		"always":    {flyrpc.Reconnect{Mode: flyrpc.ReconnectAlways, QueueAge: time.Minute, Backoff: time.Hour}, 0, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				cli := flyrpc.NewClient("mem://nowhere", &flyrpc.ClientOpts{
					Reconnect: tt.r,
					DialFunc: func(context.Context, string) (net.Conn, error) {
						dials.Add(1)
						return nil, errors.New("no route")
					},
				})
				defer cli.Close()
				begun := time.Now()
				_, err := receiveAll(flyrpc.WithIdempotent(t.Context()), cli, func(int) {}, after)
				failsWith(t, err, flyrpc.Unavailable, flyrpc.NotSent)
				if d := time.Since(begun); d != tt.takes {
					t.Errorf("it took %v, want %v", d, tt.takes)
				}
				synctest.Wait()
				if n := int(dials.Load()); tt.dials > 0 && n != tt.dials {
					t.Errorf("%d dials, want %d", n, tt.dials)
				}
			})
		})
	}
}

// breaking returns a client with two connections to a server whose /work fails while broken is set. One failure opens their breakers for 10 s.
func breaking(t *testing.T, broken *atomic.Bool) *flyrpc.Client {
	srv := flyrpctest.NewServer(t, nil)
	srv.OnMessage("/work", func() error {
		if broken.Load() {
			return flyrpc.Internal
		}
		return nil
	})
	cli := flyrpc.NewClient("mem://a", servedBy(srv, flyrpc.ClientOpts{
		Balance: flyrpc.Balance{ConnsPerAddr: 2, Failures: 1, Pause: 10 * time.Second},
	}))
	if err := cli.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return cli
}

// TestLineAfterBreaker: what waits because all connections are left out goes on as soon as the first call that is let through has succeeded.
func TestLineAfterBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		cli := breaking(t, &broken)
		defer cli.Close()
		broken.Store(true)
		for range 2 {
			failsWith(t, cli.Call(t.Context(), "/work", nil, nil), flyrpc.Internal, flyrpc.Answered)
		}
		broken.Store(false)
		begun := time.Now()
		calls := make(chan error, 5)
		for range 5 {
			go func() { calls <- cli.Call(t.Context(), "/work", nil, nil) }()
		}
		for range 5 {
			if err := <-calls; err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(begun); d != 10*time.Second {
			t.Errorf("they took %v, want one pause of 10 s", d)
		}
	})
}

// TestReconnectOneRefuses: what waits isn't given up because one of two servers refuses the client, while the other is down.
func TestReconnectOneRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/echo", func(s string) string { return s })
		strict := flyrpctest.NewServer(t, &flyrpc.ServerOpts{Auth: func(context.Context, *flyrpc.Credentials) (any, error) { return nil, flyrpc.Forbidden }})
		r := make(toldAddrs, 1)
		cli := flyrpc.NewClient("", &flyrpc.ClientOpts{Resolver: r, DialFunc: func(_ context.Context, addr string) (net.Conn, error) {
			near, far := transport.Pipe(nil)
			switch {
			case addr == "mem://strict":
				go strict.ServeConn(far)
			case up.Load():
				go srv.ServeConn(far)
			default:
				return nil, errors.New("no route")
			}
			return near, nil
		}})
		defer cli.Close()
		r <- []string{"mem://strict", "mem://restarts"}
		time.AfterFunc(10*time.Second, func() { up.Store(true) })
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil {
			t.Error(err)
		}
		up.Store(false)
		r <- []string{"mem://strict"}
		time.Sleep(time.Second)
		failsWith(t, cli.Call(t.Context(), "/echo", "x", nil), flyrpc.Forbidden, flyrpc.NotProcessed)
	})
}

// TestResolverRefuses: what waits is NotSent when the Resolver's error says that it is hopeless.
func TestResolverRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli := flyrpc.NewClient("", &flyrpc.ClientOpts{Resolver: refusing{}})
		defer cli.Close()
		failsWith(t, cli.Call(t.Context(), "/echo", "x", nil), flyrpc.Forbidden, flyrpc.NotSent)
		failsWith(t, cli.Connect(t.Context()), flyrpc.Forbidden, flyrpc.NotSent)
	})
}

// refusing is a Resolver that doesn't tell anything to this client.
type refusing struct{}

func (refusing) Resolve(context.Context, func([]string)) error {
	return flyrpc.Errorf(flyrpc.Forbidden, "not for you")
}

// TestConnectLostAtOnce: the error of Connect is one of FlyRPC, and says that nothing was sent, also if the connection is lost as soon as it is made.
func TestConnectLostAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		for _, opts := range []flyrpc.ClientOpts{
			{Reconnect: flyrpc.Reconnect{Mode: flyrpc.ReconnectAlways, OnReconnect: func(_ context.Context, conn *flyrpc.Conn) error { return conn.Close() }}},
			{Reconnect: flyrpc.Reconnect{OnReconnect: func(context.Context, *flyrpc.Conn) error { return flyrpc.Errorf(flyrpc.Conflict, "no") }}},
		} {
			cli := flyrpc.NewClient("mem://a", servedBy(srv, opts))
			for range 20 {
				err := cli.Connect(t.Context())
				var e *flyrpc.Error
				if err != nil && (!errors.As(err, &e) || flyrpc.Outcome(err) != flyrpc.NotSent) {
					t.Errorf("%T %v, %v", err, err, flyrpc.Outcome(err))
				}
			}
			cli.Close()
		}
	})
}

// TestOnReconnectEndsGoroutine: an OnReconnect that panics, or ends its goroutine as FailNow of a test does, has failed, and its connection is
// closed.
func TestOnReconnectEndsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/echo", func(s string) string { return s })
		n := 0
		cli := flyrpc.NewClient("mem://a", servedBy(srv, flyrpc.ClientOpts{
			Logger: flyrpctest.NewLogger(t),
			Reconnect: flyrpc.Reconnect{Mode: flyrpc.ReconnectAlways, OnReconnect: func(context.Context, *flyrpc.Conn) error {
				switch n++; n {
				case 1:
					runtime.Goexit()
				case 2:
					panic("as ordered")
				}
				return nil
			}},
		}))
		defer cli.Close()
		failsWith(t, cli.Connect(t.Context()), flyrpc.Internal, flyrpc.NotSent)
		time.Sleep(time.Minute)
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil || n != 3 {
			t.Errorf("%v after %d connections", err, n)
		}
		synctest.Wait()
		if n := len(srv.Conns()); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestTrialIsCalled: neither Conn nor Ping takes the one call away with which a connection is tried that was left out.
func TestTrialIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		cli := breaking(t, &broken)
		defer cli.Close()
		for _, use := range []func(){func() { cli.Conn() }, func() { _, _ = cli.Ping(0, 0) }} {
			broken.Store(true)
			for range 2 {
				failsWith(t, cli.Call(t.Context(), "/work", nil, nil), flyrpc.Internal, flyrpc.Answered)
			}
			broken.Store(false)
			time.Sleep(10 * time.Second)
			use()
			use()
			begun := time.Now()
			for range 4 {
				if err := cli.Call(t.Context(), "/work", nil, nil); err != nil || time.Since(begun) != 0 {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
			}
		}
	})
}
