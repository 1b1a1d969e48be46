package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// medium is how the connections of TestManyCalls come about.
type medium struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	reset    func(net.Conn) // ends a connection as if its peer had crashed
}

func memMedium(t *testing.T) medium {
	mem := transport.NewMem()
	addr := &url.URL{Scheme: "mem", Host: "test"}
	l, err := mem.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return medium{
		listener: l,
		dial:     func() (net.Conn, error) { return mem.Dial(context.Background(), addr) },
		reset:    func(c net.Conn) { c.(*transport.MemConn).Reset() },
	}
}

func tcpMedium(t *testing.T) medium {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return medium{
		listener: l,
		dial:     func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) },
		reset: func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
	}
}

// TestManyCalls has 10,000 calls in both directions on one connection, started, awaited, given
// up, with pings and messages, while other connections come and go.
func TestManyCalls(t *testing.T) {
	t.Run("mem", func(t *testing.T) { testManyCalls(t, memMedium(t)) })
	t.Run("tcp", func(t *testing.T) { testManyCalls(t, tcpMedium(t)) })
}

func testManyCalls(t *testing.T, m medium) {
	srv := NewServer(&ServerOpts{Logger: new(pairLog).logger()})
	register(srv)
	listening := make(chan error, 1)
	go func() { listening <- srv.Serve(m.listener) }()
	t.Cleanup(func() {
		srv.Close()
		if err := await1(t, listening, "Serve to return"); !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
	cli := m.connect(t)
	sc := awaitConn(t, srv)

	stop := make(chan struct{})
	var others sync.WaitGroup
	for i := range 4 {
		others.Go(func() { m.comeAndGo(t, stop, i%2 == 0) })
	}
	var wg sync.WaitGroup
	const workers, each = 250, 20
	for _, c := range []*Conn{cli.Conn(), sc} {
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					callAtRandom(t, c, fmt.Sprint(c.ID(), "/", w, "/", i))
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	await1(t, done, "the calls")
	close(stop)
	others.Wait()
	wantEmpty(t, "client", cli.Conn())
	wantEmpty(t, "server", sc)
	if err := errors.Join(cli.Conn().Err(), sc.Err()); err != nil {
		t.Error(err)
	}
}

// register registers handlers on one end.
func register(r Registrar) {
	r.registrar().OnMessage("/echo", func(s string) string { return s })
	r.registrar().OnMessage("/inline", func(s string) string { return s }, Inline)
	r.registrar().OnMessage("/ordered", func(s string) string { return s }, Ordered)
	r.registrar().OnMessage("/wait", func(ctx *Context) error { <-ctx.Done(); return ctx.Err() })
	r.registrar().OnMessage("/back", func(ctx *Context, s string) (string, error) {
		var got string
		err := ctx.Call("/echo", s, &got)
		return got, err
	})
}

// connect connects a client with handlers of its own.
func (m medium) connect(t *testing.T) *Client {
	conn, err := m.dial()
	if err != nil {
		t.Fatal(err)
	}
	cli := NewClientConn(conn, &ClientOpts{Logger: new(pairLog).logger(), HelloTimeout: patience})
	register(cli)
	if err := cli.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cli.Close()
		await1(t, cli.Conn().ended, "the client's reader to end")
	})
	return cli
}

// awaitConn waits for the server's end of the first connection.
func awaitConn(t *testing.T, srv *Server) *Conn {
	if !eventually(func() bool { return len(srv.Conns()) > 0 }) {
		t.Fatal("no connection")
	}
	return srv.Conns()[0]
}

// comeAndGo connects, calls and disconnects until stop is closed.
func (m medium) comeAndGo(t *testing.T, stop <-chan struct{}, abrupt bool) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		conn, err := m.dial()
		if err != nil {
			t.Error(err)
			return
		}
		cli := NewClientConn(conn, &ClientOpts{Logger: new(pairLog).logger(), HelloTimeout: patience})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		pending := cli.Go(ctx, "/wait", nil, nil)
		if got, err := Call[string](ctx, cli, "/echo", fmt.Sprint(i)); err != nil || got != fmt.Sprint(i) {
			t.Errorf("%q, %v", got, err)
		}
		if abrupt {
			m.reset(conn)
		} else {
			cli.Close()
		}
		if err := pending.Err(); !errors.Is(err, Unavailable) {
			t.Error(err)
		}
		cancel()
		cli.Close()
		if cli.Conn() == nil {
			t.Error("it was never connected")
			return
		}
		<-cli.Conn().ended
	}
}

// callAtRandom makes a call of one of many sorts and checks that the answer is its own.
func callAtRandom(t *testing.T, c *Conn, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch n := rand.IntN(16); n {
	case 0: // given up at some moment
		short, stop := context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
		defer stop()
		if err := c.Call(short, "/wait", text, nil); !errors.Is(err, Timeout) {
			t.Error(err)
		}
	case 1: // given up while the answer comes
		short, stop := context.WithCancel(ctx)
		pending := c.Go(short, "/echo", text, nil)
		stop()
		if err := pending.Err(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case 2:
		if _, err := c.Ping(n, patience); err != nil && !errors.Is(err, Busy) {
			t.Error(err)
		}
	case 3:
		if err := c.SendMessage(ctx, "/echo", text); err != nil {
			t.Error(err)
		}
	default:
		path := []string{"/echo", "/inline", "/ordered", "/back"}[n%4]
		if n == 15 { // large
			text += string(make([]byte, largeBody))
		}
		var got string
		if err := c.Call(ctx, path, text, &got); err != nil || got != text {
			t.Errorf("%s: an answer of %d bytes to %.20q, %v", path, len(got), text, err)
		}
	}
}
