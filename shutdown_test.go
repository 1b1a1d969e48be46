package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// Shutdown tells the clients, refuses what is new and lets what is open end, in both
// directions.
func TestShutdownInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		slow := func() string { time.Sleep(time.Second); return "done" }
		srv.OnMessage("/slow", slow)
		var messages atomic.Int32
		srv.OnMessage("/message", func() { time.Sleep(2 * time.Second); messages.Add(1) })
		var reasons []error
		srv.OnDisconnect(func(_ *Context, err error) { time.Sleep(time.Second); reasons = append(reasons, err) })
		cli := connectPipe(t, srv, nil)
		cli.OnMessage("/back", slow)
		synctest.Wait()
		var there, back string
		callThere := cli.Go(context.Background(), "/slow", nil, &there)
		callBack := srv.Conns()[0].Go(context.Background(), "/back", nil, &back)
		if err := cli.SendMessage(context.Background(), "/message", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stopped := make(chan error, 1)
		begin := time.Now()
		go func() { stopped <- srv.Shutdown(context.Background()) }()
		synctest.Wait()
		err := cli.Call(context.Background(), "/slow", nil, nil)
		wantErr(t, err, Unavailable, NotSent)
		wantText(t, err.Error(), "shutting down")
		if err := callThere.Err(); err != nil || there != "done" {
			t.Errorf("the call to the server: %q, %v", there, err)
		}
		if err := callBack.Err(); err != nil || back != "done" {
			t.Errorf("the call to the client: %q, %v", back, err)
		}
		if err := within(t, stopped); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if d := time.Since(begin); d != 3*time.Second || messages.Load() != 1 {
			t.Errorf("after %v %d messages were handled", d, messages.Load())
		}
		if len(reasons) != 1 || reasons[0] != nil {
			t.Errorf("OnDisconnect got %v before Shutdown returned", reasons)
		}
		wantErr(t, cli.Call(context.Background(), "/slow", nil, nil), Unavailable, NotSent)
	})
}

func TestShutdownOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/slow", func() string { time.Sleep(time.Second); return "done" })
		w, v1 := wireTo(t, srv), wireTo(t, srv)
		w.hello(plainHello)
		w.request(1, "/slow", "")
		v1.request(1, "/slow", "")
		synctest.Wait()
		go srv.Shutdown(context.Background())
		synctest.Wait()
		p := w.recv()
		if p.Code != "fly.bye" || p.Flag&(FlagWait|FlagResponse) != 0 || p.Sequence != 0 {
			t.Fatalf("got %+v, want bye", p)
		}
		w.request(2, "/slow", "")
		if p := w.wantAnswer(2, Unavailable, "shutting down"); !isNotProcessed(p) {
			t.Error("not marked not processed")
		}
		v1.request(2, "/slow", "")
		v1.wantAnswer(2, Unavailable, "shutting down")
		w.wantAnswer(1, "", "done")
		ping := w.recv()
		w.request(3, "/slow", "") // it was on its way when bye was read
		if ping.Code != "fly.ping" {
			t.Fatalf("got %+v, want a ping", ping)
		}
		w.wantAnswer(3, Unavailable, "shutting down")
		w.send(Packet{Flag: FlagResponse, Sequence: ping.Sequence})
		w.wantPingsAndEnd()
		v1.wantAnswer(1, "", "done")
		v1.wantEnd()
	})
}

// At its deadline Shutdown cancels the handlers and answers their calls.
func TestShutdownDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		causes := make(chan error, 2)
		release := make(chan struct{})
		srv.OnMessage("/polite", func(ctx *Context) error { <-ctx.Done(); causes <- ctx.Err(); return ctx.Err() })
		srv.OnMessage("/deaf", func(ctx *Context) error { <-release; causes <- ctx.Err(); return nil })
		cli := connectPipe(t, srv, nil)
		polite := cli.Go(context.Background(), "/polite", nil, nil)
		deaf := cli.Go(context.Background(), "/deaf", nil, nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("Shutdown took %v", d)
		}
		for _, call := range []*Pending{polite, deaf} {
			wantErr(t, call.Err(), Unavailable, Answered)
			wantText(t, call.Err().Error(), "shutting down")
		}
		close(release)
		for range 2 {
			if err := within(t, causes); !errors.Is(err, context.Canceled) {
				t.Errorf("a handler's Context ended with %v", err)
			}
		}
	})
}

// What doesn't read doesn't hold Shutdown up beyond its deadline.
func TestShutdownDeadlineUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxQueued: 1000, WriteTimeout: time.Hour})
		srv.OnMessage("/big", func() []byte { return make([]byte, 200<<10) })
		srv.OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
		w := wireTo(t, srv)
		w.hello(plainHello)
		for seq := range uint16(5) {
			w.request(seq+1, "/big", "")
		}
		w.request(9, "/wait", "")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("Shutdown took %v", d)
		}
	})
}

// A large response that Shutdown crosses arrives whole over TCP, however slowly it is read.
func TestShutdownDeliversResponses(t *testing.T) {
	srv := quietServer(t, nil)
	const size = 3 << 20
	started := make(chan struct{}, 20)
	srv.OnMessage("/big", func() []byte { started <- struct{}{}; return bytes.Repeat([]byte{7}, size) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cli, err := Dial(ctx, l.Addr().String(), quietOpts(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	replies := make([][]byte, 10)
	var calls []*Pending
	for i := range replies {
		calls = append(calls, cli.Go(ctx, "/big", nil, &replies[i]))
	}
	for range replies {
		<-started
	}
	// a raw client that reads after Shutdown has begun
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWireEnd(t, nc)
	w.hello(`{"flyrpc":2,"serializers":["json"],"window":10000000}`)
	w.request(1, "/big", "")
	<-started
	down := make(chan error, 1)
	go func() { down <- srv.Shutdown(ctx) }()
	for i, call := range calls {
		if err := call.Err(); err != nil || len(replies[i]) != size {
			t.Errorf("call %d: %d bytes, %v", i, len(replies[i]), err)
		}
	}
	// bye, pings, and the answer in pieces
	got := 0
	for last := false; !last; {
		h, payload := w.recvHeader()
		if last = h.seq == 1 && h.flag&FlagStream == 0; last || string(h.code) == pieceCode {
			got += len(payload)
		}
	}
	if got != size+3 { // with metadata that says that it is raw
		t.Errorf("the raw client got %d bytes", got)
	}
	w.conn.Close() // it answers no pings
	if err := within(t, down); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := within(t, served); err != ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
}

func TestShutdownWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Auth: func(ctx context.Context, _ *Credentials) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		silent := wireTo(t, srv)
		cli := pipeClient(t, srv, nil)
		connected := make(chan error, 1)
		go func() { connected <- cli.Connect(context.Background()) }()
		synctest.Wait()
		begin := time.Now()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("Shutdown took %v", d)
		}
		err := within(t, connected)
		if d := Outcome(err); !errors.Is(err, Unavailable) || d != NotSent && d != NotProcessed {
			t.Errorf("Connect returned %v, %v", err, d)
		}
		silent.wantEnd()
		late := wireTo(t, srv)
		late.wantEnd()
	})
}

// brokenConn is a connection whose other end has gone, which only writing finds out.
type brokenConn struct {
	net.Conn
	gone atomic.Bool
}

func (c *brokenConn) Write(b []byte) (int, error) {
	if c.gone.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// A client that leaves just when Shutdown begins leaves in order; one that leaves a
// call behind doesn't.
func TestShutdownWhileClientLeaves(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log, text := newLogText()
			srv := quietServer(t, &ServerOpts{Logger: log})
			srv.OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
			reasons := make(chan error, 1)
			srv.OnDisconnect(func(_ *Context, err error) { reasons <- err })
			near, far := transport.Pipe(nil)
			conn := &brokenConn{Conn: far}
			go srv.ServeConn(conn)
			w := newWireEnd(t, near)
			w.hello(plainHello)
			if busy {
				w.request(1, "/wait", "")
			}
			synctest.Wait()
			conn.gone.Store(true)
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := within(t, reasons); (err != nil) != busy {
				t.Errorf("busy %v: OnDisconnect got %v", busy, err)
			}
			if warned := strings.Contains(text.String(), "level=WARN"); warned != busy {
				t.Errorf("busy %v, logged: %s", busy, text)
			}
		})
	}
}

// OnConnect that runs belongs to what Shutdown waits for.
func TestShutdownDuringOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		var order []string
		srv.OnConnect(func(ctx *Context) error {
			time.Sleep(time.Second)
			order = append(order, "connect")
			return ctx.Err()
		})
		srv.OnDisconnect(func(*Context, error) { order = append(order, "disconnect") })
		srv.OnMessage("/x", func() string { return "y" })
		cli := connectPipe(t, srv, nil)
		var reply string
		call := cli.Go(context.Background(), "/x", nil, &reply) // held
		synctest.Wait()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := call.Err(); err != nil || reply != "y" {
			t.Errorf("the call that OnConnect held up: %q, %v", reply, err)
		}
		if len(order) != 2 || order[1] != "disconnect" {
			t.Errorf("%v", order)
		}
	})
}
