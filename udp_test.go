package flyrpc

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// listenUDP has srv listen on UDP until the test ends, and returns the address to dial.
func listenUDP(t testing.TB, srv *Server) string {
	t.Helper()
	table, err := transport.NewTable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := table.Listen(context.Background(), "udp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-served })
	return "udp://" + l.Addr().String()
}

func udpContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestUDPCall(t *testing.T) {
	ctx := udpContext(t)
	srv := NewServer(nil)
	got := make(chan string, 1)
	srv.OnMessage("/double", func(n int) int { return 2 * n })
	srv.OnMessage("/note", func(s string) { got <- s })
	srv.OnMessage("/back", func(ctx *Context, s string) (string, error) {
		var reply string
		err := ctx.Call("/shout", s, &reply)
		return reply, err
	})
	cli, err := Dial(ctx, listenUDP(t, srv), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	cli.OnMessage("/shout", func(s string) string { return s + "!" })
	for i := range 100 {
		if n, err := Call[int](ctx, cli, "/double", i); n != 2*i || err != nil {
			t.Fatalf("call %d: %d, %v", i, n, err)
		}
	}
	if s, err := Call[string](ctx, cli, "/back", "hey"); s != "hey!" || err != nil {
		t.Fatalf("%q, %v", s, err)
	}
	if err := cli.SendMessage(ctx, "/note", "hello"); err != nil || <-got != "hello" {
		t.Fatal(err)
	}
	if d, err := cli.Ping(1024, time.Second); d <= 0 || err != nil {
		t.Fatal(d, err)
	}
	if addr, ok := srv.Conns()[0].RemoteAddr().(*net.UDPAddr); !ok || addr.String() != cli.Conn().LocalAddr().String() {
		t.Fatal(srv.Conns()[0].RemoteAddr())
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	<-cli.Conn().Done()
}
