package flyrpctest

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

func TestNewClient(t *testing.T) {
	srv := newAdder(t)
	cli := NewClient(t, srv, nil)
	wantSum(t, cli)
	cli.OnMessage("/add", add)
	wantSum(t, cli.ServerConn()) // the other way
	if cli.Host.Server() != srv || cli.Host.Addr() != "mem://server" {
		t.Errorf("the host has %v at %s", cli.Host.Server(), cli.Host.Addr())
	}
}

func TestHostManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Serve(t, newAdder(t))
		var got []string
		for _, name := range []string{"a", "b", "c"} {
			cli := h.NewClient(&flyrpc.ClientOpts{Info: name})
			cli.OnMessage("/note", func() { got = append(got, name) }, flyrpc.Inline)
			wantSum(t, cli)
		}
		synctest.Wait()
		conns := h.Server().Conns()
		if len(conns) != 3 {
			t.Fatalf("%d connections", len(conns))
		}
		for i, want := range []string{`"a"`, `"b"`, `"c"`} {
			if info := string(conns[i].PeerInfo().Info); info != want {
				t.Errorf("client %d is %s", i, info)
			}
			if err := conns[i].Call(t.Context(), "/note", nil, nil); err != nil {
				t.Error(err)
			}
		}
		if len(got) != 3 {
			t.Errorf("noted by %q", got)
		}
	})
}

// A server that crashes resets its connections and refuses others, and can be started again.
func TestHostStopStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAdder(t)
		canceled := make(chan error, 1)
		srv.OnMessage("/hang", func(ctx context.Context) { <-ctx.Done(); canceled <- ctx.Err() })
		cli := NewClient(t, srv, nil)
		open := cli.Go(t.Context(), "/hang", nil, nil)
		synctest.Wait()
		h := cli.Host
		h.Stop()
		h.Stop()
		wantErr(t, open.Err(), flyrpc.Unavailable, flyrpc.Unknown)
		if err := <-canceled; err != context.Canceled {
			t.Error(err)
		}
		wantErr(t, cli.Call(t.Context(), "/add", sum{}, nil), flyrpc.Unavailable, flyrpc.NotSent)
		err := cli.Connect(t.Context())
		wantErr(t, err, flyrpc.Unavailable, flyrpc.NotSent)
		wantText(t, err.Error(), "refused")

		h.Start(nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantSum(t, cli)
		synctest.Wait()
		if n := len(srv.Conns()); n != 1 || cli.Link.Dials() != 2 {
			t.Errorf("%d connections, %d dials", n, cli.Link.Dials())
		}
	})
}

// A server that has shut down in order is followed by another one.
func TestHostRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newAdder(t), NewServer(t, nil)
		second.OnMessage("/new", Reply("yes"))
		cli := NewClient(t, first, nil)
		if err := first.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		cli.Host.Start(second)
		<-cli.Conn().Done()
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := flyrpc.Call[string](t.Context(), cli, "/new", nil); got != "yes" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if cli.Host.Server() != second {
			t.Error("Server is not the one that was started last")
		}
	})
}

// The server's end of a client's connection is there even if OnConnect takes its time.
func TestServerConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAdder(t)
		srv.OnConnect(func(ctx *flyrpc.Context) error {
			time.Sleep(time.Second)
			ctx.Conn().SetValue("since", time.Now())
			return nil
		})
		a := NewClient(t, srv, nil)
		b := a.Host.NewClient(nil)
		other := NewClient(t, srv, nil) // whose addresses are the same, in another network
		conns := map[*flyrpc.Conn]bool{a.ServerConn(): true, b.ServerConn(): true, other.ServerConn(): true}
		if len(conns) != 3 || a.ServerConn().Value("since") == nil {
			t.Errorf("got %d connections", len(conns))
		}
		a.Close()
		synctest.Wait()
		f := &fakeTB{TB: t}
		a.Host.t = f
		wantText(t, f.run(func(testing.TB) { a.ServerConn() }), "is the client still connected?")
		a.Host.t = t
	})
}

// A version 1 client.
func TestNewClientV1(t *testing.T) {
	wantSum(t, NewClient(t, newAdder(t), &flyrpc.ClientOpts{NoHello: true}))
}

// What NewClient and Start refuse.
func TestHostMisuse(t *testing.T) {
	misuses := map[string]struct {
		test func(t testing.TB)
		want string
	}{
		"start twice": {func(t testing.TB) { Serve(t, newAdder(t)).Start(nil) }, "call Stop first"},
		"DialFunc": {func(t testing.TB) {
			NewClient(t, newAdder(t), &flyrpc.ClientOpts{DialFunc: func(context.Context, string) (net.Conn, error) { return nil, nil }})
		}, "use NewLink and flyrpc.Dial"},
		"two mems": {func(t testing.TB) {
			NewClient(t, newAdder(t), &flyrpc.ClientOpts{Transports: []transport.Transport{transport.NewMem()}})
		}, "twice"},
		"refused": {func(t testing.TB) {
			srv := NewServer(t, nil)
			srv.OnConnect(func(*flyrpc.Context) error { return nil })
			NewClient(t, srv, &flyrpc.ClientOpts{CheckPeer: func(flyrpc.PeerInfo) error { return errors.New("not that one") }})
		}, "not that one"},
	}
	for name, m := range misuses {
		t.Run(name, func(t *testing.T) {
			f := &fakeTB{TB: t}
			wantText(t, f.run(m.test), m.want)
		})
	}
}

// A client that the code under test makes.
func TestHostNewLink(t *testing.T) {
	h := Serve(t, newAdder(t))
	link := h.NewLink()
	cli, err := flyrpc.Dial(t.Context(), h.Addr(), &flyrpc.ClientOpts{Transports: []transport.Transport{link}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	wantSum(t, cli)
	link.Reset()
	<-cli.Conn().Done()
}

// A call whose handler runs when the test has ended fails it, with its path and its time.
func TestOpenCallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTB{TB: t}
		got := f.run(func(t testing.TB) {
			srv := NewServer(t, nil)
			srv.OnMessage("/hang", Hang())
			cli := NewClient(t, srv, nil)
			NewClient(t, srv, nil) // another Host of the same server, which says nothing of it
			cli.OnMessage("/hang", Hang())
			cli.Go(f.TB.Context(), "/hang", nil, nil)
			synctest.Wait()
			time.Sleep(time.Minute)
			cli.ServerConn().Go(f.TB.Context(), "/hang", nil, nil)
			synctest.Wait()
		})
		wantText(t, got, "calls were still open when the test had ended:\n\t/hang, which the server has been handling for 1m1s\n"+
			"\t/hang, which a client has been handling for 1s\nWait for their end")
		if len(f.errors) != 1 {
			t.Errorf("%d errors: %s", len(f.errors), got)
		}
	})
}

// What ends in time, or has been closed, is no leftover; and a test that has failed isn't told.
func TestNothingLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(t testing.TB) *Client {
			srv := NewServer(t, nil)
			srv.OnMessage("/slow", func() { time.Sleep(Grace / 2) })
			srv.OnMessage("/hang", Hang())
			return NewClient(t, srv, nil)
		}
		f := &fakeTB{TB: t}
		wantText(t, f.run(func(t testing.TB) {
			cli := slow(t)
			cli.Go(f.TB.Context(), "/slow", nil, nil)
			synctest.Wait()
		}))
		f = &fakeTB{TB: t}
		wantText(t, f.run(func(t testing.TB) {
			cli := slow(t)
			cli.Go(f.TB.Context(), "/hang", nil, nil)
			synctest.Wait()
			cli.Close()
		}))
		f = &fakeTB{TB: t}
		f.run(func(t testing.TB) {
			slow(t).Go(f.TB.Context(), "/hang", nil, nil)
			synctest.Wait()
			t.Fatal("for another reason")
		})
		if len(f.errors) != 1 {
			t.Errorf("%q", f.errors)
		}
	})
}

// A goroutine of a handler that goes on fails the test, with its stack.
func TestGoroutineLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []string{"server", "client"} {
			release := make(chan struct{})
			f := &fakeTB{TB: t}
			got := f.run(func(t testing.TB) {
				srv := NewServer(t, nil)
				cli := NewClient(t, srv, nil)
				leak := func() { go func() { leakHere(release) }() }
				if at == "server" {
					srv.OnMessage("/leak", leak)
					_ = cli.Call(f.TB.Context(), "/leak", nil, nil)
				} else {
					cli.OnMessage("/leak", leak)
					_ = cli.ServerConn().Call(f.TB.Context(), "/leak", nil, nil)
				}
			})
			wantText(t, got, "goroutines of handlers were left", "\t1 of\n", "flyrpctest.leakHere\n", "host_test.go:", "when its Context does")
			close(release)
			if left := awaitGoroutines(""); left != "" { // nobody has this mark
				t.Error(left)
			}
		}
	})
}

func leakHere(release chan struct{}) { <-release }

// Tests that run at the same time have nothing to do with each other's goroutines.
func TestParallelLeaks(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	other := Serve(t, NewServer(t, nil))
	other.Server().OnMessage("/hang", func() { <-release })
	cli := other.NewClient(nil)
	call := cli.Go(t.Context(), "/hang", nil, nil)
	f := &fakeTB{TB: t}
	wantText(t, f.run(func(t testing.TB) { NewClient(t, newAdder(t), nil) }))
	release <- struct{}{}
	if err := call.Err(); err != nil {
		t.Error(err)
	}
}

// What a server and a client say is in the test's log, and nothing comes after its end.
func TestLogger(t *testing.T) {
	f := &fakeTB{TB: t}
	var srv *flyrpc.Server
	f.run(func(t testing.TB) {
		srv = NewServer(t, nil)
		srv.OnMessage("/panic", func() { panic("oh") })
		cli := NewClient(t, srv, nil)
		wantErr(f.TB, cli.Call(f.TB.Context(), "/panic", nil, nil), flyrpc.HandlerPanic, flyrpc.Answered)
		NewLogger(t).Info("hello", "n", 1)
	})
	said := ""
	for _, line := range f.logs {
		said += line + "\n"
	}
	wantText(t, said, "oh", "level=INFO msg=hello n=1\n")
	f = &fakeTB{TB: t}
	log := NewLogger(f)
	f.run(func(testing.TB) {})
	log.Error("late")
	if len(f.logs) != 0 {
		t.Errorf("%q", f.logs)
	}
}
