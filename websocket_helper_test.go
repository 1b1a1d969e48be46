package flyrpc

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// mounted serves srv in a mux of its own, under a path, and returns the WebSocket's URL.
func mounted(t testing.TB, srv *Server) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/mounted/", srv)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http") + "/mounted/any/path"
}

// dialWeb returns a Client that is connected to addr and that the test closes.
func dialWeb(t testing.TB, addr string, opts *ClientOpts) *Client {
	t.Helper()
	cli, err := Dial(bounded(t), addr, quietOpts(opts))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// webPeer is another implementation's client, which speaks in packets and looks at how they are put into messages.
type webPeer struct {
	t     testing.TB
	c     *gorilla.Conn
	frame int // the largest payload that it has said it takes
	most  int // the longest message that came
	queue []Packet
}

func newWebPeer(t testing.TB, addr string, header http.Header) *webPeer {
	t.Helper()
	c, _, err := gorilla.DefaultDialer.DialContext(bounded(t), addr, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &webPeer{t: t, c: c, frame: DefaultMaxFrame}
}

// send sends packets as one message.
func (p *webPeer) send(packets ...Packet) {
	p.t.Helper()
	var b []byte
	for i := range packets {
		var err error
		if b, err = AppendPacket(b, &packets[i]); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.c.WriteMessage(gorilla.BinaryMessage, b); err != nil {
		p.t.Fatal(err)
	}
}

// hello says hello and drops the answer.
func (p *webPeer) hello(payload string) {
	p.t.Helper()
	p.send(Packet{Flag: FlagWait, Sequence: helloSequence, Code: "fly.hello", Payload: []byte(payload)})
	if a := p.recv(); a.Code != "" || a.Flag != FlagResponse {
		p.t.Fatalf("hello was answered %+v (%s)", a, a.Payload)
	}
}

// next returns the next packet, of a message that has to hold whole ones.
func (p *webPeer) next() (Packet, error) {
	for len(p.queue) == 0 {
		_ = p.c.SetReadDeadline(time.Now().Add(patience))
		kind, b, err := p.c.ReadMessage()
		if err != nil {
			return Packet{}, err
		}
		if kind != gorilla.BinaryMessage || len(b) > p.frame+64<<10 || len(b) == 0 {
			p.t.Fatalf("a message of kind %d with %d bytes", kind, len(b))
		}
		p.most = max(p.most, len(b))
		for len(b) > 0 {
			h, n, err := parseHeader(b)
			if err != nil || n+int(h.length) > len(b) {
				p.t.Fatalf("a message doesn't hold whole packets: %d bytes are left, %v", len(b), err)
			}
			payload := bytes.Clone(b[n : n+int(h.length)])
			p.queue = append(p.queue, Packet{Flag: h.flag, Sequence: h.seq, Code: string(h.code), Payload: payload})
			b = b[n+int(h.length):]
		}
	}
	pkt := p.queue[0]
	p.queue = p.queue[1:]
	return pkt, nil
}

func (p *webPeer) recv() Packet {
	p.t.Helper()
	pkt, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return pkt
}

// call calls and returns the answer's payload.
func (p *webPeer) call(seq uint16, path, payload string) string {
	p.t.Helper()
	p.send(rawRequest(seq, path, payload))
	for {
		if a := p.recv(); a.Flag&(FlagResponse|FlagStream) == FlagResponse && a.Sequence == seq {
			return a.Code + string(a.Payload)
		}
	}
}

// wantClosed checks that the server closes with a code and a reason.
func (p *webPeer) wantClosed(code int, reason string) {
	p.t.Helper()
	for {
		_, err := p.next()
		if err == nil {
			continue
		}
		if !gorilla.IsCloseError(err, code) || !strings.Contains(err.Error(), reason) {
			p.t.Fatalf("the connection ended with %v; want code %d and %q", err, code, reason)
		}
		return
	}
}

// echoServer returns a server with a few handlers.
func echoServer(t testing.TB, opts *ServerOpts) *Server {
	srv := quietServer(t, opts)
	srv.OnMessage("/echo", func(b []byte) []byte { return b })
	srv.OnMessage("/length", func(s string) int { return len(s) })
	srv.OnMessage("/user", func(q *struct{ ID int }) (string, error) {
		if q.ID == 0 {
			return "", Errorf(BadRequest, "id is required")
		}
		return "Ada", nil
	})
	srv.OnMessage("/count", func(n int) func(func(int, error) bool) {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	})
	srv.OnMessage("/call back", func(ctx *Context, text string) (reply string, err error) {
		err = ctx.Call("/twice", text, &reply)
		return reply, err
	})
	return srv
}
