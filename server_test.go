package flyrpc

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnConnectRunsOnceAndFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		var connected atomic.Int32
		srv.OnConnect(func(ctx *Context) error {
			time.Sleep(time.Second) // the client's packets come meanwhile
			connected.Add(1)
			if ctx.Path() != "" || ctx.Err() != nil || ctx.Reply("", nil) == nil {
				t.Error("the Context of OnConnect is wrong")
			}
			return nil
		})
		srv.OnMessage("/n", func() int32 { return connected.Load() })
		messages := make(chan int32, 1)
		srv.OnMessage("/m", func() { messages <- connected.Load() })
		cli := connectPipe(t, srv, nil)
		if len(srv.Conns()) != 0 {
			t.Error("Conns has a connection whose OnConnect hasn't returned")
		}
		if err := cli.SendMessage(context.Background(), "/m", nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if n, err := Call[int32](context.Background(), cli, "/n", nil); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if n := within(t, messages); n != 1 {
			t.Errorf("a message was handled after %d OnConnect", n)
		}
		if len(srv.Conns()) != 1 {
			t.Error("Conns lacks the connection")
		}
	})
}

// OnConnect and what it keeps reach the client, of either version.
func TestOnConnectCallsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		kept := make(chan *Conn, 2)
		names := make(chan string, 2)
		srv.OnConnect(func(ctx *Context) error {
			var name string
			if err := ctx.Call("/name", nil, &name); err != nil {
				return err
			}
			names <- name
			kept <- ctx.Conn()
			return nil
		})
		cli := pipeClient(t, srv, nil)
		news := make(chan string, 1)
		cli.OnMessage("/name", func() string { return "ada" })
		cli.OnMessage("/news", func(s string) { news <- s })
		if err := cli.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		if name := within(t, names); name != "ada" {
			t.Errorf("the client is %q", name)
		}
		if err := within(t, kept).SendMessage(context.Background(), "/news", "later"); err != nil {
			t.Fatal(err)
		}
		if s := within(t, news); s != "later" {
			t.Errorf("got %q", s)
		}

		w := wireTo(t, srv) // says nothing: it may be a version 1 client that waits
		begin := time.Now()
		p := w.recv()
		if p.Code != "/name" || p.Flag != FlagWait || time.Since(begin) != silentFor {
			t.Fatalf("got %+v after %v", p, time.Since(begin))
		}
		w.request(5, "fly.hello", plainHello) // too late: this side has spoken version 1
		w.wantAnswer(5, NotFound, "version 1")
		w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence, Payload: []byte("bob")})
		if name := within(t, names); name != "bob" {
			t.Errorf("the version 1 client is %q", name)
		}
		w.request(6, "/none", "")
		w.wantAnswer(6, NotFound, "/none")
	})
}

// A client that says hello late still gets it, if OnConnect hasn't spoken.
func TestOnConnectThenHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		var n atomic.Int32
		srv.OnConnect(func(ctx *Context) error { n.Add(1); return nil })
		w := wireTo(t, srv)
		time.Sleep(time.Second)
		w.hello(plainHello)
		synctest.Wait()
		if n.Load() != 1 || srv.Conns()[0].PeerInfo().Version != 2 {
			t.Errorf("OnConnect ran %d times", n.Load())
		}
	})
}

func TestOnConnectRefuses(t *testing.T) {
	hooks := map[string]struct {
		f    func(*Context) error
		code Code
	}{
		"code":   {func(*Context) error { return Errorf(Forbidden, "full house") }, Forbidden},
		"busy":   {func(*Context) error { return Errorf(Unavailable, "come back later") }, Unavailable},
		"plain":  {func(*Context) error { return errors.New("full house") }, Failed},
		"own":    {func(*Context) error { return Code("HOUSE_RULES") }, "HOUSE_RULES"},
		"panic":  {func(*Context) error { panic("full house") }, HandlerPanic},
		"exit":   {func(*Context) error { runtime.Goexit(); return nil }, HandlerPanic},
		"typed":  {func(*Context) error { var e *Error; return e }, HandlerPanic},
		"slowly": {func(*Context) error { time.Sleep(time.Second); return Forbidden }, Forbidden},
	}
	for name, h := range hooks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, nil)
				var ran atomic.Int32
				srv.OnConnect(h.f)
				srv.OnMessage("/x", func() { ran.Add(1) })
				srv.OnDisconnect(func(*Context, error) { ran.Add(1) })
				cli := connectPipe(t, srv, nil)
				for range 3 { // while OnConnect runs, while it lingers, and after
					err := cli.Call(context.Background(), "/x", nil, nil)
					if d := Outcome(err); !errors.Is(err, h.code) || d != NotSent && d != NotProcessed {
						t.Errorf("Call returned %v, %v; want %s", err, d, h.code)
					}
					time.Sleep(time.Second)
				}
				err := cli.SendMessage(context.Background(), "/x", nil)
				wantErr(t, err, h.code, NotSent)
				within(t, cli.Conn().Done())
				if n := ran.Load(); n != 0 || len(srv.Conns()) != 0 {
					t.Errorf("%d functions ran", n)
				}
			})
		})
	}
}

// Requests that OnConnect has held up, of either version, get the refusal's code.
func TestOnConnectRefusesOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnConnect(func(ctx *Context) error { time.Sleep(time.Second); return Errorf(Forbidden, "full house") })
		srv.OnMessage("/x", func() { t.Error("a handler ran") })
		w := wireTo(t, srv)
		w.hello(plainHello)
		w.request(1, "/x", "") // held
		p := w.recv()
		if p.Code != "fly.bye" || p.Flag&FlagWait != 0 || helloFields(t, p)["code"] != "FORBIDDEN" {
			t.Fatalf("got %+v, want bye", p)
		}
		if p := w.wantAnswer(1, Forbidden, "full house"); !isNotProcessed(p) {
			t.Error("not marked not processed")
		}
		w.wantPingsAndEnd()

		w = wireTo(t, srv)
		w.request(1, "/x", "")
		if p := w.wantAnswer(1, Forbidden, "full house"); p.Flag != FlagResponse {
			t.Errorf("version 1 got %+v", p)
		}
		w.wantEnd()
	})
}

func TestOnDisconnectOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		var order []string
		srv.OnConnect(func(*Context) error { order = append(order, "connect"); return nil })
		srv.OnDisconnect(func(ctx *Context, err error) {
			if err != nil {
				t.Errorf("the reason is %v", err)
			}
			order = append(order, "disconnect")
			panic("which is logged")
		})
		cli := connectPipe(t, srv, nil)
		synctest.Wait()
		cli.Close()
		cli.Conn().Close()
		synctest.Wait()
		if len(order) != 2 || order[1] != "disconnect" {
			t.Errorf("%v", order)
		}
	})
}

// A connection that is lost while OnConnect runs ends its Context, and OnDisconnect
// follows OnConnect if that returned no error.
func TestOnDisconnectAfterLateOnConnect(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			order := make(chan string, 3)
			srv.OnConnect(func(ctx *Context) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				order <- "connect"
				if fails {
					return ctx.Err()
				}
				return nil
			})
			srv.OnDisconnect(func(*Context, error) { order <- "disconnect" })
			cli := connectPipe(t, srv, nil)
			synctest.Wait()
			cli.Close()
			time.Sleep(2 * time.Second)
			srv.Shutdown(context.Background())
			close(order)
			var got []string
			for s := range order {
				got = append(got, s)
			}
			if fails && len(got) != 1 || !fails && (len(got) != 2 || got[1] != "disconnect") {
				t.Errorf("fails %v: %v", fails, got)
			}
		})
	}
}

func TestServeConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func() string { return "y" })
		near, far := net.Pipe() // without half-close or buffer
		ended := make(chan struct{})
		go func() { defer close(ended); srv.ServeConn(far) }()
		cli := NewClientConn(near, quietOpts(nil))
		if got, err := Call[string](context.Background(), cli, "/x", nil); got != "y" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		cli.Close()
		within(t, ended)
		srv.Close()
		near, far = net.Pipe()
		defer near.Close()
		srv.ServeConn(far)
		if _, err := far.Write([]byte{1}); err == nil {
			t.Error("a closed server leaves a connection open")
		}
	})
}

func TestConnsOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		for range 20 {
			connectPipe(t, srv, nil)
		}
		synctest.Wait()
		conns := srv.Conns()
		for i := 1; i < len(conns); i++ {
			if conns[i-1].ID() >= conns[i].ID() {
				t.Errorf("%d before %d", conns[i-1].ID(), conns[i].ID())
			}
		}
		if len(conns) != 20 {
			t.Errorf("%d connections", len(conns))
		}
	})
}

func TestNewServerPanics(t *testing.T) {
	for _, tt := range []struct {
		opts *ServerOpts
		want string
	}{
		{&ServerOpts{Info: func() {}}, "ServerOpts.Info"},
		{&ServerOpts{Transports: twoMems()}, "ServerOpts.Transports"},
	} {
		func() {
			defer func() { wantText(t, recover().(string), tt.want) }()
			NewServer(tt.opts)
		}()
	}
}
