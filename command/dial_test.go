package command_test

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/command"
	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// A WebSocket is dialled without further options, and takes commands as long as any other transport does.
func TestDialWebSocket(t *testing.T) {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Logger: slog.New(slog.DiscardHandler)})
	defer srv.Close()
	srv.OnMessage("echo", func(s string) string { return s })
	srv.OnMessage("cookie", func(c *flyrpc.Context) string { return c.Conn().Header().Get("Cookie") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	own := websocket.Transport{Header: http.Header{"Cookie": {"a=b"}}}
	for cookie, opts := range map[string]*command.Options{"": nil, "a=b": {Transports: []transport.Transport{own, transport.TLS{}}}} {
		conn, err := newProcessor(t, opts).Dial(t.Context(), "ws://"+l.Addr().String()+"/any/path")
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := conn.Call(t.Context(), "cookie", nil, &got); err != nil || got != cookie {
			t.Errorf("the cookie is %q, %v", got, err)
		}
		long := strings.Repeat("x", 3<<20)
		if err := conn.Call(t.Context(), "echo", long, &got); err != nil || got != long {
			t.Errorf("%d bytes came, %v", len(got), err)
		}
	}
}
