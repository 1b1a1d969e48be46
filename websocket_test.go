package flyrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// TestWebSocket has a client do all it can do over ws and wss: in any mux, under any path, and by Listen.
func TestWebSocket(t *testing.T) {
	world := newTLSWorld(t)
	for name, dial := range map[string]func(t *testing.T) (*Server, *Client){
		"mounted": func(t *testing.T) (*Server, *Client) {
			srv := echoServer(t, nil)
			return srv, dialWeb(t, mounted(t, srv), nil)
		},
		"one port": func(t *testing.T) (*Server, *Client) {
			srv := echoServer(t, &ServerOpts{MaxConns: 1})
			return srv, dialWeb(t, "ws://"+listenOn(t, srv, "tcp://127.0.0.1:0")+"/any/path", nil)
		},
		"one port of TLS, wss": func(t *testing.T) (*Server, *Client) {
			srv := echoServer(t, &ServerOpts{TLS: world.server, MaxConns: 1})
			return srv, dialWeb(t, "wss://"+listenOn(t, srv, "tls://127.0.0.1:0")+"/any/path", &ClientOpts{TLS: world.client})
		},
		"mounted in HTTPS": func(t *testing.T) (*Server, *Client) {
			srv := echoServer(t, nil)
			web := httptest.NewUnstartedServer(srv)
			web.TLS = world.server
			web.StartTLS()
			t.Cleanup(web.Close)
			return srv, dialWeb(t, "wss"+strings.TrimPrefix(web.URL, "https"), &ClientOpts{TLS: world.client})
		},
		"Listen ws": func(t *testing.T) (*Server, *Client) {
			srv := echoServer(t, nil)
			return srv, dialWeb(t, "ws://"+listenOn(t, srv, "ws://127.0.0.1:0/path")+"/path", nil)
		},
		"Listen wss": func(t *testing.T) (*Server, *Client) {
			srv := echoServer(t, &ServerOpts{TLS: world.server})
			return srv, dialWeb(t, "wss://"+listenOn(t, srv, "wss://127.0.0.1:0/path")+"/path", &ClientOpts{TLS: world.client})
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, cli := dial(t)
			useAll(t, srv, cli)
			secure := strings.Contains(name, "HTTPS") || strings.Contains(name, "wss")
			for _, c := range append(srv.Conns(), cli.Conn()) {
				if (c.TLS() != nil) != secure {
					t.Errorf("the state of TLS is %v", c.TLS())
				}
				if c.PeerInfo().Version != 2 || c.Header() == nil {
					t.Errorf("the peer is %+v, the header %v", c.PeerInfo(), c.Header())
				}
			}
		})
	}
}

// useAll calls, in both directions, streams and sends large messages.
func useAll(t *testing.T, srv *Server, cli *Client) {
	t.Helper()
	ctx := bounded(t)
	cli.OnMessage("/twice", func(s string) string { return s + s })
	if u, err := Call[string](ctx, cli, "/user", struct{ ID int }{7}); u != "Ada" || err != nil {
		t.Errorf("/user: %q, %v", u, err)
	}
	if _, err := Call[string](ctx, cli, "/user", struct{ ID int }{0}); !errors.Is(err, BadRequest) {
		t.Errorf("/user without an ID: %v", err)
	}
	if s, err := Call[string](ctx, cli, "/call back", "ab"); s != "abab" || err != nil {
		t.Errorf("a call back: %q, %v", s, err)
	}
	if s, err := Call[string](ctx, srv.Conns()[0], "/twice", "push"); s != "pushpush" || err != nil {
		t.Errorf("a call of the server's: %q, %v", s, err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			sent := bytes.Repeat([]byte{byte(i)}, 1000<<(i%10))
			if got, err := Call[[]byte](ctx, cli, "/echo", sent); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back as %d, %v", len(sent), len(got), err)
			}
		})
	}
	wg.Wait()
	large := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	if got, err := Call[[]byte](ctx, cli, "/echo", large); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes came back as %d, %v", len(large), len(got), err)
	}
	n := 0
	for i, err := range Receive[int](ctx, cli, "/count", 5000) {
		if err != nil || i != n {
			t.Fatalf("item %d is %d, %v", n, i, err)
		}
		n++
	}
	if n != 5000 {
		t.Errorf("%d items came", n)
	}
}

// TestWebSocketStreamsUp has items go to the server and back.
func TestWebSocketStreamsUp(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("/double", func(in iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for b, err := range in {
				if !yield(append(b, b...), err) {
					return
				}
			}
		}
	})
	cli := dialWeb(t, mounted(t, srv), nil)
	items := func(yield func([]byte) bool) {
		for i := range 200 {
			if !yield(text(i, 1+i*350)) {
				return
			}
		}
	}
	n := 0
	for b, err := range Exchange[[]byte, []byte](bounded(t), cli, "/double", nil, items) {
		if want := text(n, 1+n*350); err != nil || !bytes.Equal(b, append(want, want...)) {
			t.Fatalf("item %d has %d bytes, %v", n, len(b), err)
		}
		n++
	}
	if n != 200 {
		t.Errorf("%d items came back", n)
	}
}

// TestWebSocketWholePackets checks that each message holds whole packets, and isn't longer than agreed, whatever is sent.
func TestWebSocketWholePackets(t *testing.T) {
	srv := echoServer(t, nil)
	srv.OnMessage("/bytes", func(n int) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for i := range 40 {
				if !yield(text(i, (i*n)%90_000), nil) {
					return
				}
			}
		}
	})
	for _, frame := range []int{1 << 10, 20 << 10, DefaultMaxFrame} {
		p := newWebPeer(t, mounted(t, srv), nil)
		p.frame = frame
		p.hello(fmt.Sprintf(`{"flyrpc":2,"serializers":["json"],"frame":%d,"window":100000000,"messages":100000000}`, frame))
		const calls = 12
		for seq := range uint16(calls) {
			p.send(rawRequest(seq+1, "/bytes", fmt.Sprint(1+int(seq)*997)))
		}
		for ended := 0; ended < calls; {
			if a := p.recv(); a.Flag&(FlagResponse|FlagStream) == FlagResponse {
				if ended++; a.Code != "" {
					t.Fatalf("%+v (%s)", a, a.Payload)
				}
			}
		}
		if p.most <= frame {
			t.Errorf("no message was longer than %d: nothing was gathered", p.most)
		}
		p.c.Close()
	}
}

// TestWebSocketOrigin has pages refused that aren't the server's own, unless they are allowed.
func TestWebSocketOrigin(t *testing.T) {
	log, said := newLogText()
	srv := echoServer(t, &ServerOpts{Origins: []string{"https://good.example"}, Logger: log})
	addr := mounted(t, srv)
	_, err := Dial(bounded(t), addr, quietOpts(&ClientOpts{Header: http.Header{"Origin": {"https://evil.example"}}}))
	wantErr(t, err, Forbidden, NotSent)
	wantText(t, err.Error(), "https://evil.example", "Origins")
	wantText(t, said.String(), "WebSocket refused", "https://evil.example")
	dialWeb(t, addr, &ClientOpts{Header: http.Header{"Origin": {"https://good.example"}}})
}

// TestWebSocketAuth lets a client in by a cookie, which OnConnect and handlers see, too.
func TestWebSocketAuth(t *testing.T) {
	seen := make(chan string, 1)
	srv := quietServer(t, &ServerOpts{Auth: func(_ context.Context, cr *Credentials) (any, error) {
		r := http.Request{Header: cr.Header}
		cookie, err := r.Cookie("session")
		if err != nil || cookie.Value != "7" {
			return nil, errors.New("no session")
		}
		return "ada", nil
	}})
	srv.OnConnect(func(ctx *Context) error { seen <- ctx.Conn().Header().Get("Cookie"); return nil })
	srv.OnMessage("/me", func(ctx *Context) string {
		return fmt.Sprint(ctx.Conn().Identity(), " ", ctx.Conn().Header().Get("Cookie"))
	})
	addr := mounted(t, srv)
	for _, cookie := range []string{"", "session=8"} {
		_, err := Dial(bounded(t), addr, quietOpts(&ClientOpts{Header: http.Header{"Cookie": {cookie}}}))
		wantErr(t, err, Unauthenticated, NotProcessed)
	}
	cli := dialWeb(t, addr, &ClientOpts{Header: http.Header{"Cookie": {"session=7"}}})
	if got := within(t, seen); got != "session=7" {
		t.Errorf("OnConnect saw %q", got)
	}
	if me, err := Call[string](bounded(t), cli, "/me", nil); me != "ada session=7" || err != nil {
		t.Errorf("/me: %q, %v", me, err)
	}
}

// TestWebSocketReadLimit holds messages to what is agreed, and agrees on no compression, so that nothing gets by the limit.
func TestWebSocketReadLimit(t *testing.T) {
	srv := echoServer(t, nil)
	addr := mounted(t, srv)
	dialer := gorilla.Dialer{EnableCompression: true}
	c, resp, err := dialer.DialContext(bounded(t), addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := resp.Header.Values("Sec-Websocket-Extensions"); len(got) > 0 {
		t.Fatalf("the server agreed on %q", got)
	}
	p := &webPeer{t: t, c: c, frame: DefaultMaxFrame}
	p.hello(plainHello)
	fits := make([]Packet, 0, 2)
	for seq := range uint16(2) { // together just the limit
		fits = append(fits, rawRequest(seq+1, "/length", `"`+strings.Repeat("1", 64<<10-20)+`"`))
	}
	p.send(fits...)
	for range 2 {
		if a := p.recv(); a.Code != "" {
			t.Errorf("%s", a.Code)
		}
	}
	if got := p.call(3, "/user", `{"ID":7}`); !strings.HasSuffix(got, "Ada") {
		t.Errorf("a call: %q", got)
	}
	head := binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, DefaultMaxFrame+64<<10+1)
	if _, err := c.NetConn().Write(append(head, 1, 2, 3, 4)); err != nil { // no more of it: what is unread could cost us the close frame
		t.Fatal(err)
	}
	p.wantClosed(websocket.CloseTooLong, "at most 132096")
}

// TestWebSocketBroken tells what is wrong before it closes.
func TestWebSocketBroken(t *testing.T) {
	srv := echoServer(t, nil)
	addr := mounted(t, srv)
	p := newWebPeer(t, addr, nil)
	p.hello(plainHello)
	if err := p.c.WriteMessage(gorilla.TextMessage, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	p.wantClosed(websocket.CloseBadKind, "text message")

	p = newWebPeer(t, addr, nil)
	p.send(Packet{Flag: FlagStream, Code: "x"})
	p.wantClosed(websocket.CloseProtocol, "neither hello nor version 1")

	srv = echoServer(t, &ServerOpts{NoCommands: true})
	p = newWebPeer(t, mounted(t, srv), nil)
	if err := p.c.WriteMessage(gorilla.TextMessage, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	p.wantClosed(websocket.CloseBadKind, "JSON commands are switched off")

	// What isn't packets, but begins another protocol on a port, doesn't do so in a message.
	p = newWebPeer(t, addr, nil)
	if err := p.c.WriteMessage(gorilla.BinaryMessage, []byte("GET / HTTP/1.1\r\n\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	p.wantClosed(websocket.CloseProtocol, "")
}

// TestWebSocketPing answers pings at any time, also on a connection that is parked.
func TestWebSocketPing(t *testing.T) {
	srv := echoServer(t, nil)
	p := newWebPeer(t, mounted(t, srv), nil)
	pongs := make(chan string, 1)
	p.c.SetPongHandler(func(text string) error { pongs <- text; return nil })
	ping := func(text string) {
		t.Helper()
		if err := p.c.WriteControl(gorilla.PingMessage, []byte(text), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for len(pongs) == 0 { // they are seen by who reads
			p.call(1, "/user", `{"ID":7}`)
		}
		if got := <-pongs; got != text {
			t.Errorf("the ping %q was answered %q", text, got)
		}
	}
	ping("before hello, in version 1")
	p = newWebPeer(t, mounted(t, srv), nil)
	p.c.SetPongHandler(func(text string) error { pongs <- text; return nil })
	p.hello(plainHello)
	ping("idle")
	if runtime.GOOS == "linux" && !eventually(func() bool { return parkedOf(srv.ep) >= 1 }) {
		t.Fatal("the connection isn't parked")
	}
	ping("parked")
}

// TestWebSocketShutdown tells clients that the server goes away.
func TestWebSocketShutdown(t *testing.T) {
	srv := echoServer(t, nil)
	addr := mounted(t, srv)
	p := newWebPeer(t, addr, nil)
	p.hello(plainHello)
	cli := dialWeb(t, addr, nil)
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(bounded(t)) }()
	for {
		pkt, err := p.next()
		if err == nil && pkt.Code == "fly.ping" && pkt.Flag&FlagWait != 0 {
			p.send(Packet{Flag: FlagResponse, Sequence: pkt.Sequence, Payload: pkt.Payload})
			continue
		}
		if err == nil {
			continue
		}
		if !gorilla.IsCloseError(err, websocket.CloseGoingAway) || !strings.Contains(err.Error(), "shutting down") {
			t.Errorf("the connection ended with %v", err)
		}
		break
	}
	if err := within(t, done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-cli.Conn().Done()
	if err := cli.Conn().Err(); !orderly(err) {
		t.Errorf("the client's connection ended with %v", err)
	}
	_, err := Dial(bounded(t), addr, quietOpts(nil))
	wantErr(t, err, Unavailable, NotSent)
	wantText(t, err.Error(), "503", "shutting down")
}

// TestWebSocketOff refuses the upgrade, and says by which option.
func TestWebSocketOff(t *testing.T) {
	srv := echoServer(t, &ServerOpts{NoWebSocket: true})
	_, err := Dial(bounded(t), mounted(t, srv), quietOpts(nil))
	wantErr(t, err, Unavailable, NotSent)
	wantText(t, err.Error(), "501", "NoWebSocket")
	if err := srv.Listen("ws://127.0.0.1:0"); err == nil {
		t.Error("Listen succeeded")
	} else {
		wantText(t, err.Error(), "NoWebSocket")
	}
	world := newTLSWorld(t)
	wantText(t, quietServer(t, &ServerOpts{TLS: world.server}).Listen("ws://127.0.0.1:0").Error(), "wss://", "AllowPlain")
	wantText(t, quietServer(t, nil).Listen("wss://127.0.0.1:0").Error(), "ServerOpts.TLS")
	_, err = Dial(bounded(t), "ws://localhost:1/path", quietOpts(&ClientOpts{TLS: world.client}))
	wantErr(t, err, BadRequest, NotSent)
	wantText(t, err.Error(), "write wss://localhost:1/path")
}

// TestWebSocketRefusals maps what an HTTP server answers to codes.
func TestWebSocketRefusals(t *testing.T) {
	for status, code := range map[int]Code{
		401: Unauthenticated, 403: Forbidden, 404: NotFound, 429: Busy, 500: Unavailable,
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }))
		_, err := Dial(bounded(t), "ws"+strings.TrimPrefix(web.URL, "http"), quietOpts(nil))
		wantErr(t, err, code, NotSent)
		web.Close()
	}
}

// TestWebSocketLimits counts WebSockets as connections.
func TestWebSocketLimits(t *testing.T) {
	srv := echoServer(t, &ServerOpts{MaxConns: 1})
	addr := "ws://" + listenOn(t, srv, "tcp://127.0.0.1:0")
	cli := dialWeb(t, addr, nil)
	_, err := Dial(bounded(t), addr, quietOpts(nil))
	wantErr(t, err, Busy, NotSent)
	cli.Close()
	if !eventually(func() bool { srv.mu.Lock(); defer srv.mu.Unlock(); return srv.admission.n == 0 }) {
		t.Error("the connection stays on the books")
	}
	dialWeb(t, addr, nil)
}

// TestWebSocketSilent has OnConnect run for a client that says nothing, as over TCP, and push to it.
func TestWebSocketSilent(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnConnect(func(ctx *Context) error { return ctx.SendMessage("/pushed", "hello") })
	p := newWebPeer(t, mounted(t, srv), nil)
	if pkt := p.recv(); pkt.Code != "/pushed" {
		t.Errorf("got %+v", pkt)
	}
}

// TestWebSocketText is refused by a client: none of its servers begins with a text.
func TestWebSocketText(t *testing.T) {
	up := gorilla.Upgrader{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.WriteMessage(gorilla.TextMessage, []byte("{}"))
		_, _, _ = c.ReadMessage()
		_, _, _ = c.ReadMessage()
	}))
	defer web.Close()
	_, err := Dial(bounded(t), "ws"+strings.TrimPrefix(web.URL, "http"), quietOpts(nil))
	wantErr(t, err, Unavailable, NotSent)
	wantText(t, err.Error(), "first message is a text")
}
