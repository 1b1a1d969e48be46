package flyrpc

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// memServer returns a server that listens at mem://srv and the options to dial it.
func memServer(t *testing.T, opts *ServerOpts) (*Server, *ClientOpts) {
	t.Helper()
	mem := transport.NewMem()
	srv := quietServer(t, opts)
	srv.OnMessage("/echo", func(s string) string { return s })
	l := memListen(t, mem)
	go srv.Serve(l)
	return srv, quietOpts(&ClientOpts{Transports: []transport.Transport{mem}})
}

// Each of the ways to use a client connects it first.
func TestClientConnectsLazily(t *testing.T) {
	uses := map[string]func(c *Client) error{
		"Call":        func(c *Client) error { return c.Call(context.Background(), "/echo", "x", nil) },
		"Go":          func(c *Client) error { return c.Go(context.Background(), "/echo", "x", nil).Err() },
		"SendMessage": func(c *Client) error { return c.SendMessage(context.Background(), "/echo", "x") },
		"Ping":        func(c *Client) error { _, err := c.Ping(10, time.Second); return err },
		"Ping for good": func(c *Client) error {
			d, err := c.Ping(0, 0)
			if d < 0 {
				return errors.New("negative")
			}
			return err
		},
		"Connect": func(c *Client) error { return c.Connect(context.Background()) },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, opts := memServer(t, nil)
				cli := NewClient("mem://srv", opts)
				defer cli.Close()
				if cli.Conn() != nil {
					t.Error("a new client has a connection")
				}
				if err := use(cli); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if cli.Conn() == nil || len(srv.Conns()) != 1 {
					t.Errorf("%d connections", len(srv.Conns()))
				}
				if err := cli.Connect(context.Background()); err != nil || len(srv.Conns()) != 1 {
					t.Errorf("a second Connect: %v", err)
				}
			})
		})
	}
}

// First calls at the same time share one connection.
func TestClientSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, opts := memServer(t, &ServerOpts{Auth: func(context.Context, *Credentials) (any, error) {
			time.Sleep(time.Second)
			return nil, nil
		}})
		cli := NewClient("mem://srv", opts)
		defer cli.Close()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := cli.Call(context.Background(), "/echo", "x", nil); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		synctest.Wait()
		err := cli.Call(ctx, "/echo", "x", nil)
		wantErr(t, err, Timeout, NotSent)
		wg.Wait()
		if n := len(srv.Conns()); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// A connection that was given can't be dialled again.
func TestClientConnGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		cli := connectPipe(t, srv, nil)
		srv.Close()
		within(t, cli.Conn().Done())
		err := cli.Connect(context.Background())
		wantErr(t, err, Unavailable, NotSent)
		wantText(t, err.Error(), "DialFunc")

		unused, end := clientWire(t, nil)
		unused.Close()
		end.wantEnd()
		wantErr(t, unused.Connect(context.Background()), Unavailable, NotSent)
	})
}

// Close ends the connecting too, whatever it waits for, and everything fails afterwards.
func TestClientCloseWhileConnecting(t *testing.T) {
	waits := map[string]func(ctx context.Context, n net.Conn) (net.Conn, error){
		"dial":  func(ctx context.Context, n net.Conn) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		"hello": func(_ context.Context, n net.Conn) (net.Conn, error) { return n, nil },
	}
	for name, dial := range waits {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := transport.Pipe(nil)
				defer near.Close()
				defer far.Close()
				cli := NewClient("x", quietOpts(&ClientOpts{DialFunc: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, near) }}))
				errs := make(chan error, 3)
				for range 3 {
					go func() { errs <- cli.Call(context.Background(), "/x", nil, nil) }()
				}
				synctest.Wait()
				begin := time.Now()
				if err := cli.Close(); err != nil {
					t.Error(err)
				}
				for range 3 {
					err := within(t, errs)
					wantErr(t, err, Unavailable, NotSent)
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("%v is not net.ErrClosed", err)
					}
				}
				if d := time.Since(begin); d != 0 {
					t.Errorf("it took %v", d)
				}
				cli.Close()
				wantErr(t, cli.Connect(context.Background()), Unavailable, NotSent)
				wantErr(t, cli.SendMessage(context.Background(), "/x", nil), Unavailable, NotSent)
				wantErr(t, cli.Go(context.Background(), "/x", nil, nil).Err(), Unavailable, NotSent)
				if _, err := cli.Ping(0, 0); !errors.Is(err, Unavailable) {
					t.Error(err)
				}
			})
		})
	}
}

func TestClientDialFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func() string { return "y" })
		var addrs []string
		cli, err := Dial(context.Background(), "any text at all", quietOpts(&ClientOpts{
			DialFunc: func(_ context.Context, addr string) (net.Conn, error) {
				addrs = append(addrs, addr)
				return servePipe(srv), nil
			},
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		if got, err := Call[string](context.Background(), cli, "/x", nil); got != "y" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if len(addrs) != 1 || addrs[0] != "any text at all" {
			t.Errorf("dialled %q", addrs)
		}
		errDial := errors.New("no route")
		_, err = Dial(context.Background(), "x", quietOpts(&ClientOpts{DialFunc: func(context.Context, string) (net.Conn, error) { return nil, errDial }}))
		wantErr(t, err, Unavailable, NotSent)
		if !errors.Is(err, errDial) {
			t.Error(err)
		}
	})
}

func TestClientBadArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests := []struct {
			addr string
			opts *ClientOpts
			code Code
			want []string
		}{
			{"pigeon://coop", nil, Unavailable, []string{`"pigeon"`, "known: http, https, ipc, tcp, tls, udp, unix, ws, wss"}},
			{"mem://x", &ClientOpts{Transports: []transport.Transport{transport.NewMem()}}, Unavailable, []string{"refused", "no listener"}},
			{"", nil, Unavailable, nil},
			{"no port", nil, Unavailable, []string{"host:port"}},
			{"localhost:1", &ClientOpts{Info: func() {}}, BadRequest, []string{"ClientOpts.Info"}},
			{"localhost:1", &ClientOpts{Transports: twoMems()}, BadRequest, []string{"mem", "twice"}},
			{"localhost:1", &ClientOpts{RequireHello: true, NoHello: true}, BadRequest, []string{"RequireHello", "NoHello"}},
		}
		for _, tt := range tests {
			cli, err := Dial(context.Background(), tt.addr, quietOpts(tt.opts))
			if cli != nil {
				t.Errorf("%q: Dial returned a client", tt.addr)
			}
			wantErr(t, err, tt.code, NotSent)
			wantText(t, err.Error(), tt.want...)
			lazy := NewClient(tt.addr, quietOpts(tt.opts))
			wantErr(t, lazy.Call(context.Background(), "/x", nil, nil), tt.code, NotSent)
			lazy.Close()
		}
	})
}

// A context that has ended, or ends while dialling, is the error's cause.
func TestClientDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := Dial(ctx, "x", quietOpts(&ClientOpts{DialFunc: func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, errors.New("cut short")
		}}))
		wantErr(t, err, Timeout, NotSent)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_, opts := memServer(t, nil)
		_, err = Dial(ctx, "mem://srv", opts)
		wantErr(t, err, Timeout, NotSent)
		cli := NewClient("mem://srv", opts)
		defer cli.Close()
		wantErr(t, cli.Call(ctx, "/echo", nil, nil), Timeout, NotSent)
	})
}

// Failures of all kinds leave nothing behind, even if nobody calls Close; the bubble
// would not end.
func TestClientFailuresLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		refuse := &ServerOpts{Auth: func(context.Context, *Credentials) (any, error) { return nil, Forbidden }}
		srv := quietServer(t, refuse)
		for range 5 {
			cli := NewClient("x", quietOpts(&ClientOpts{DialFunc: func(context.Context, string) (net.Conn, error) {
				dials.Add(1)
				return servePipe(srv), nil
			}}))
			for range 3 {
				wantErr(t, cli.Call(context.Background(), "/x", nil, nil), Forbidden, NotProcessed)
			}
		}
		time.Sleep(time.Minute) // idle workers end by themselves
		if dials.Load() != 15 {
			t.Errorf("%d dials", dials.Load())
		}
	})
}

// TestConnectAfterBye: with ReconnectNever, Connect makes a new connection when the server takes no new calls on the old one, whose calls go on.
func TestConnectAfterBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxConnAge: time.Minute})
		srv.OnMessage("/work", func() { time.Sleep(80 * time.Second) }) // a connection ends 84 s after it began at the earliest
		srv.OnMessage("/hi", func() {})
		cli := NewClient("mem://x", quietOpts(&ClientOpts{Reconnect: Reconnect{Mode: ReconnectNever}, DialFunc: func(context.Context, string) (net.Conn, error) {
			return servePipe(srv), nil
		}}))
		defer cli.Close()
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		old := cli.Conn()
		work := cli.Go(t.Context(), "/work", nil, nil)
		time.Sleep(70 * time.Second)
		wantFailed(t, cli.Call(t.Context(), "/hi", nil, nil), Unavailable, NotSent)
		for range 2 {
			if err := cli.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := cli.Call(t.Context(), "/hi", nil, nil); err != nil || cli.Conn() == old || len(srv.Conns()) != 2 {
			t.Errorf("%v; %d connections", err, len(srv.Conns()))
		}
		if err := work.Err(); err != nil {
			t.Error(err)
		}
		<-old.Done()
	})
}

// TestConnectAfterByes: connections that a server says bye on and doesn't close don't add up.
func TestConnectAfterByes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		cli := NewClient("mem://x", quietOpts(&ClientOpts{DialFunc: func(context.Context, string) (net.Conn, error) {
			return servePipe(srv), nil
		}}))
		defer cli.Close()
		var conns []*Conn
		for range 3 * maxOld {
			if err := cli.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, cli.Conn())
			cli.Conn().saidBye(&received{})
		}
		synctest.Wait()
		for i, c := range conns {
			if ended := c.Err() != nil; ended != (i < len(conns)-1-maxOld) {
				t.Errorf("connection %d of %d: %v", i, len(conns), c.Err())
			}
		}
	})
}
