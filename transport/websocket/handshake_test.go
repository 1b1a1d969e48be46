package websocket

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

// A page of another site is refused unless it is allowed, and the answer says what to do.
func TestOrigin(t *testing.T) {
	for name, c := range map[string]struct {
		allowed []string
		header  http.Header
		refused string
	}{
		"no browser":        {nil, http.Header{}, ""},
		"own page":          {nil, http.Header{"Origin": {"http://HOST"}}, ""},
		"another":           {nil, http.Header{"Origin": {"https://evil.example"}}, `"https://evil.example"`},
		"another port":      {nil, http.Header{"Origin": {"http://127.0.0.1:1"}}, `"http://127.0.0.1:1"`},
		"null":              {nil, http.Header{"Origin": {"null"}}, `"null"`},
		"allowed":           {[]string{"https://a.example", "https://b.example:8443"}, http.Header{"Origin": {"https://b.example:8443"}}, ""},
		"not among":         {[]string{"https://a.example"}, http.Header{"Origin": {"https://a.example.evil"}}, "Origins"},
		"all":               {[]string{AnyOrigin}, http.Header{"Origin": {"https://evil.example"}}, ""},
		"browser says so":   {nil, http.Header{"Sec-Fetch-Site": {"cross-site"}}, "cross-site"},
		"same origin":       {nil, http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://proxy.example"}}, ""},
		"a wrong option":    {[]string{"a.example"}, http.Header{}, "write one like https://example.com"},
		"wrong, and unused": {[]string{"https://a.example/path"}, http.Header{"Origin": {"https://a.example"}}, "Origins"},
	} {
		t.Run(name, func(t *testing.T) {
			u, conns := accepting(t, &AcceptOptions{Origins: c.allowed})
			if origin := c.header.Get("Origin"); origin != "" {
				c.header.Set("Origin", strings.Replace(origin, "HOST", u.Host, 1))
			}
			conn, err := Transport{Header: c.header}.Dial(within(t), u)
			if c.refused == "" {
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				(<-conns).Close()
				return
			}
			var refused *UpgradeError
			if !errors.As(err, &refused) || refused.Status != http.StatusForbidden || !strings.Contains(refused.Text, c.refused) {
				t.Errorf("Dial: %v", err)
			}
		})
	}
}

// What asks for no WebSocket is told so by HTTP.
func TestNoUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		header http.Header
		method string
		status int
		text   string
	}{
		"plain":       {http.Header{}, "GET", 400, "upgrade"},
		"old version": {http.Header{"Sec-Websocket-Version": {"8"}}, "GET", 400, "version"},
		"no key":      {http.Header{"Sec-Websocket-Key": {"x"}}, "GET", 400, "Sec-WebSocket-Key"},
		"POST":        {http.Header{"Sec-Websocket-Version": {"13"}}, "POST", 405, "GET"},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		if name != "plain" {
			r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
			for k, v := range c.header {
				r.Header[k] = v
			}
		}
		w := httptest.NewRecorder()
		if _, err := Accept(w, r, nil); err == nil || w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s: %v, and status %d: %s", name, err, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	w := httptest.NewRecorder()
	if _, err := Accept(w, r, nil); err == nil || w.Code != 500 || !strings.Contains(w.Body.String(), "Hijacker") {
		t.Errorf("a server that gives no connection away: %v, and status %d: %s", err, w.Code, w.Body)
	}
}

// A server that answers otherwise than by agreeing gives an error that says how.
func TestDialRefused(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		text   string
	}{
		"404":         {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404: is the address's path right?"},
		"401":         {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nwho's it?", `401: "who's it?"`},
		"no key":      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "101"},
		"no HTTP":     {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does the other end speak HTTP?"},
		"nothing":     {"", "closed the connection"},
		"endless":     {"HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 2*maxAnswer) + "\r\n\r\n", "longer than 64 KiB"},
		"extension":   {agreed + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n", "extension"},
		"subprotocol": {agreed + "Sec-WebSocket-Protocol: chat\r\n\r\n", "subprotocol"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := upgradeWith(t, Transport{}, c.answer)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Dial: %v", err)
			}
		})
	}
	c, err := upgradeWith(t, Transport{Header: http.Header{"Sec-Websocket-Protocol": {"mqtt, chat"}}}, agreed+"Sec-WebSocket-Protocol: chat\r\n\r\n\x82\x02hi")
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, c, []byte("hi"))
	if got := c.Header().Get("Sec-Websocket-Protocol"); got != "chat" {
		t.Errorf("the subprotocol is %q", got)
	}
	if _, ok := c.Socket(); ok {
		t.Error("there is a Socket, though bytes have come that it doesn't know of")
	}
}

const agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"

// upgradeWith upgrades a connection whose other end answers with a text and then ends it.
func upgradeWith(t *testing.T, tr Transport, answer string) (*Conn, error) {
	t.Helper()
	a, b := transport.Pipe(&transport.PipeOptions{Buffer: 1 << 20})
	t.Cleanup(func() { a.Close(); b.Close() })
	go func() {
		r, err := http.ReadRequest(bufio.NewReader(b))
		if err != nil {
			return
		}
		_, _ = b.Write([]byte(strings.Replace(answer, "KEY", acceptKey(r), 1)))
		_ = b.CloseWrite()
	}()
	u, err := transport.ParseAddr("ws://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	return tr.Upgrade(within(t), a, u)
}

// acceptKey is what a server has to answer to a request, which gorilla's server is asked for.
func acceptKey(r *http.Request) string {
	a, b := net.Pipe()
	defer a.Close()
	go func() { _, _ = (&gorilla.Upgrader{}).Upgrade(hijacked{httptest.NewRecorder(), b}, r, nil) }()
	resp, err := http.ReadResponse(bufio.NewReader(a), r)
	if err != nil {
		return err.Error()
	}
	return resp.Header.Get("Sec-Websocket-Accept")
}

// hijacked gives a connection away.
type hijacked struct {
	http.ResponseWriter
	nc net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

// A client that breaks off before the answer is written is an error of Accept.
func TestAcceptOfLost(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	a, b := net.Pipe()
	a.Close()
	if _, err := Accept(hijacked{httptest.NewRecorder(), b}, r, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Accept: %v", err)
	}
}

// In a server of HTTPS, the connection below is TLS, whose state is there.
func TestAcceptTLS(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, &AcceptOptions{Below: func(nc net.Conn) net.Conn { return nc }})
		if err != nil {
			t.Error(err)
		}
		conns <- c
	}))
	defer s.Close()
	u, _ := url.Parse("wss" + strings.TrimPrefix(s.URL, "https"))
	cfg := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.NextProtos = []string{"h2"} // which isn't for WebSockets
	c, err := Transport{TLS: cfg}.Dial(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server := <-conns
	defer server.Close()
	mustWrite(t, c, []byte("hello"))
	wantBytes(t, server, []byte("hello"))
	if _, ok := server.NetConn().(*transport.TLSConn); !ok {
		t.Errorf("the connection below is a %T", server.NetConn())
	}
	if _, ok := transport.SocketOf(server); ok {
		t.Error("there is a Socket over TLS")
	}
	if server.RemoteAddr().String() != c.LocalAddr().String() {
		t.Error("the addresses differ")
	}
}

func TestListenOnlyItsPath(t *testing.T) {
	u, _ := url.Parse("ws://127.0.0.1:0/path")
	l, err := Transport{}.Listen(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]int{"/path": http.StatusUpgradeRequired, "/other": http.StatusNotFound} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Connections that nobody accepts are bounded, and closed with the listener.
func TestListenBacklog(t *testing.T) {
	u, _ := url.Parse("ws://127.0.0.1:0/")
	l, err := Transport{}.Listen(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	full := l.(*listener)
	var conns []net.Conn
	for range maxWaiting {
		c, err := Transport{}.Dial(within(t), u)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for ctx := within(t); len(full.conns) < maxWaiting && ctx.Err() == nil; { // a client may know first that it is connected
		runtime.Gosched()
	}
	var refused *UpgradeError
	if _, err := (Transport{}).Dial(within(t), u); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("one more: %v", err)
	}
	a, b := pair(t)
	full.offer(b)
	var e *CloseError
	if _, err := a.Read(make([]byte, 1)); !errors.As(err, &e) || e.Code != CloseTryLater {
		t.Errorf("one too many: %v", err)
	}
	l.Close()
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read of a connection that was never accepted: %v", err)
		}
		c.Close()
	}
	a, b = pair(t)
	full.offer(b)
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one that came too late: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	authority := transporttest.NewAuthority(t)
	for addr, listens := range map[string]bool{
		"ws://127.0.0.1:0/?query": false, "wss://127.0.0.1:0/": false, "ws:opaque": false, "ws://[::1]:0": true,
	} {
		u, err := url.Parse(addr)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Transport{}.Listen(within(t), u)
		var wrong *transport.AddrError
		if listens && err == nil {
			l.Close()
		} else if listens || !errors.As(err, &wrong) {
			t.Errorf("Listen(%s): %v", addr, err)
		}
	}
	for addr, want := range map[string]string{
		"ws://example.com": "tcp://example.com:80", "wss://example.com/x": "tls://example.com:443",
		"ws://:7000/x?y": "tcp://:7000", "wss://[::1]:1/": "tls://[::1]:1",
	} {
		u, _ := url.Parse(addr)
		_, below, err := parse(u)
		if err != nil || below.String() != want {
			t.Errorf("%s is at %v, %v", addr, below, err)
		}
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "a")}}
	if http1(cfg) != cfg || http1(nil) != nil {
		t.Error("a configuration was copied that needn't be")
	}
}

func TestErrors(t *testing.T) {
	for err, want := range map[error]string{
		&CloseError{Code: 4000}:                    "code 4000",
		&CloseError{Code: 4000, Reason: "because"}: `code 4000: "because"`,
		&UpgradeError{Status: 500}:                 "status 500",
	} {
		if !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
	s, _ := pair(t)
	for _, code := range []int{0, 1005, 1006, 1015, 2000, 5000} {
		if s.SetClose(code, ""); s.closing.Code != CloseNormal {
			t.Errorf("the code %d would be sent", code)
		}
	}
}
