package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// dialHTTP returns a client by HTTP of what listens at an address.
func dialHTTP(t testing.TB, addr string, opts *ClientOpts) *Client {
	t.Helper()
	cli, err := Dial(t.Context(), addr, quietOpts(opts))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// listenHTTP has srv listen on loopback and returns its URL.
func listenHTTP(t testing.TB, srv *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}

func TestHTTPClient(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	notices := make(chan string, 1)
	srv.OnMessage("/notice", func(s string) { notices <- s })
	srv.OnMessage("/meta", func(c *Context) (Metadata, error) {
		deadline, ok := c.Deadline()
		if left := time.Until(deadline); !ok || left > time.Minute || left < 50*time.Second {
			t.Errorf("the deadline is in %v", left)
		}
		return c.Meta(), c.SetMeta("Reply", "ü\n")
	})
	cli := dialHTTP(t, listenHTTP(t, srv), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	u, err := Call[webUser](ctx, cli, "/user/get", webQuery{7})
	if err != nil || u != (webUser{7, "Ada"}) {
		t.Errorf("%+v, %v", u, err)
	}
	var e *Error
	_, err = Call[webUser](ctx, cli, "/user/get", webQuery{0})
	var details struct{ Field string }
	if !errors.As(err, &e) || e.Code != BadRequest || e.Message != "id is required" || !e.Remote() || Outcome(err) != Answered || e.DecodeDetails(&details) != nil || details.Field != "ID" {
		t.Errorf("%#v, %+v", err, details)
	}
	if _, err := Call[webUser](ctx, cli, "/nothing", nil); !errors.Is(err, NotFound) || Outcome(err) != NotProcessed {
		t.Errorf("%v is %v", err, Outcome(err))
	}
	if s, err := Call[string](ctx, cli, "/text", "ä\n"); err != nil || s != "<ä\n>" {
		t.Errorf("%q, %v", s, err)
	}
	if b, err := Call[[]byte](ctx, cli, "/bytes", []byte{255}); err != nil || !bytes.Equal(b, []byte{255, 0}) {
		t.Errorf("%q, %v", b, err)
	}
	if s, err := Call[string](ctx, cli, "bare.name", nil); err != nil || s != "bare" {
		t.Errorf("%q, %v", s, err)
	}
	if err := cli.Call(ctx, "/none", nil, nil); err != nil {
		t.Error(err)
	}
	if err := cli.SendMessage(ctx, "/notice", "hi"); err != nil || <-notices != "hi" {
		t.Error(err)
	}
	var reply, got Metadata
	err = cli.Call(WithReplyMeta(WithMeta(ctx, "Key %", "v\x00%41"), &reply), "/meta", nil, &got)
	if err != nil || got["Key %"] != "v\x00%41" || reply["Reply"] != "ü\n" {
		t.Errorf("%q, %q, %v", got, reply, err)
	}
	large := strings.Repeat("x", 1<<20)
	if s, err := Call[string](ctx, cli, "/text", large); err != nil || s != "<"+large+">" {
		t.Errorf("%d bytes, %v", len(s), err)
	}
	if _, err := cli.Ping(0, time.Second); err != nil {
		t.Error(err)
	}
}

func TestHTTPClientItems(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	ended := make(chan struct{})
	srv.OnMessage("/endless", func(c *Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for yield("a\nb", nil) {
			}
			<-c.Done()
			close(ended)
		}
	})
	cli := dialHTTP(t, listenHTTP(t, srv), nil)
	ctx := t.Context()
	collect := func(n int) (ids []int, err error) {
		for u, err := range Receive[webUser](ctx, cli, "/users", webQuery{n}) {
			if err != nil {
				return ids, err
			}
			ids = append(ids, u.ID)
		}
		return ids, nil
	}
	if ids, err := collect(1000); err != nil || len(ids) != 1000 || !slices.IsSorted(ids) {
		t.Errorf("%d items, %v", len(ids), err)
	}
	if ids, err := collect(0); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
	if ids, err := collect(2); !errors.Is(err, Conflict) || Outcome(err) != Answered || len(ids) != 2 {
		t.Errorf("%v, %v", ids, err)
	}
	for s, err := range Receive[string](ctx, cli, "/endless", nil) {
		if s != "a\nb" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
		break
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the handler isn't cancelled")
	}
	_, err := Upload[int](ctx, cli, "/sum", nil, slices.Values([]webQuery{{1}}))
	if !errors.Is(err, BadRequest) || Outcome(err) != NotSent || !strings.Contains(err.Error(), "items can't be sent by HTTP") {
		t.Errorf("%v is %v", err, Outcome(err))
	}
}

// Readers and items of bytes come as they were, and a client that would send items is told that it can't.
func TestHTTPClientBytes(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("/raw", func() iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) { _ = yield([]byte{0, 255}, nil) && yield(nil, nil) }
	})
	srv.OnMessage("/file", func() io.Reader { return strings.NewReader(strings.Repeat("file", 100_000)) })
	srv.OnMessage("/half", func() io.Reader { return io.MultiReader(strings.NewReader("half"), failing{errors.New("no more")}) })
	cli := dialHTTP(t, listenHTTP(t, srv), nil)
	ctx := t.Context()
	var raw [][]byte
	for b, err := range Receive[[]byte](ctx, cli, "/raw", nil) {
		if err != nil {
			t.Error(err)
		}
		raw = append(raw, b)
	}
	if fmt.Sprintf("%x", raw) != "[00ff ]" {
		t.Errorf("%x", raw)
	}
	if b, err := Call[[]byte](ctx, cli, "/file", nil); err != nil || len(b) != 400_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := Call[[]byte](ctx, cli, "/half", nil); !errors.Is(err, Unavailable) || Outcome(err) != Unknown {
		t.Errorf("%v is %v", err, Outcome(err))
	}
}

// What isn't FlyRPC, or can't be reached, gives errors that say so, and how far the call has come.
func TestHTTPClientFaults(t *testing.T) {
	calls := 0
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				calls++
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "<html>")
		}
	}
	cut := func(head string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				return
			}
			nc, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(nc, head)
			nc.Close()
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		code    Code
		outcome Delivery
		text    string
	}{
		{"a proxy's error", status(502), Unavailable, Unknown, "502 Bad Gateway, and that is no answer of FlyRPC"},
		{"a page", status(200, "Content-Type", "text/html"), Unavailable, Unknown, "200 OK"},
		{"a redirection", status(302, "Location", "/elsewhere"), Unavailable, Unknown, "302 Found"},
		{"an error that isn't JSON", status(500, "Fly-Outcome", "answered"), Unavailable, Answered, "500 Internal"},
		{"no answer", cut(""), Unavailable, Unknown, "EOF"},
		{"half an answer", cut("HTTP/1.1 200 OK\r\nFly-Outcome: answered\r\nContent-Length: 10\r\n\r\nabc"), Unavailable, Unknown, "the answer was cut"},
		{"half the items", cut("HTTP/1.1 200 OK\r\nFly-Outcome: unknown\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"), Unavailable, Unknown, "the answer was cut"},
		{"an answer too long", cut("HTTP/1.1 200 OK\r\nFly-Outcome: answered\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("1", 3000)), TooLong, Answered, "2000"},
		{"an item too long", cut("HTTP/1.1 200 OK\r\nFly-Outcome: unknown\r\nContent-Type: text/event-stream\r\n\r\ndata: " + strings.Repeat("1", 9000)), TooLong, Answered, "2000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			front := httptest.NewServer(tt.handler)
			defer front.Close()
			cli := dialHTTP(t, front.URL+"/prefix/", &ClientOpts{MaxMessage: 2000})
			defer cli.Close()
			var err error
			for _, err = range Receive[int](t.Context(), cli, "/x", nil) {
			}
			if !errors.Is(err, tt.code) || Outcome(err) != tt.outcome || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v is %v", err, Outcome(err))
			}
		})
	}
	if calls != 4 {
		t.Errorf("%d calls, want one of each", calls)
	}
}

// A server that can't be reached, and an address that is none, are errors that say so.
func TestHTTPClientAddresses(t *testing.T) {
	front := httptest.NewServer(http.NotFoundHandler())
	front.Config.SetKeepAlivesEnabled(false) // else what is sent on an idle connection may have been read
	cli := dialHTTP(t, front.URL, nil)
	front.Close()
	if err := cli.Call(t.Context(), "/x", nil, nil); !errors.Is(err, Unavailable) || Outcome(err) != NotSent {
		t.Errorf("a server that has gone: %v is %v", err, Outcome(err))
	}
	if _, err := Dial(t.Context(), front.URL, nil); !errors.Is(err, Unavailable) || Outcome(err) != NotSent || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Dial: %v is %v", err, Outcome(err))
	}
	for addr, text := range map[string]string{
		"http://": "no host", "http://a:b@c": "ClientOpts.Auth", "http://c/?d": "query", "http://c/#d": "fragment",
	} {
		if _, err := Dial(t.Context(), addr, nil); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := quietServer(t, nil).Listen("http://localhost:0"); err == nil || !strings.Contains(err.Error(), "tcp or tls") {
		t.Errorf("Listen: %v", err)
	}
}

// Credentials of ClientOpts.Auth travel in a header, and one Auth serves both ways in.
func TestHTTPClientAuth(t *testing.T) {
	w := newTLSWorld(t)
	srv := quietServer(t, &ServerOpts{TLS: w.server, Auth: func(_ context.Context, c *Credentials) (any, error) {
		var login struct{ Name, Token string }
		if err := c.Decode(&login); err != nil {
			return nil, err
		}
		if login.Token != "s3crét%" {
			return nil, errors.New("wrong")
		}
		return login.Name, nil
	}})
	srv.OnMessage("/me", func(c *Context) string { return fmt.Sprint(c.Conn().Identity(), c.Conn().TLS() != nil) })
	addr := strings.Replace(listenHTTP(t, srv), "http:", "https:", 1)
	type login struct{ Name, Token string }
	for _, url := range []string{addr, strings.Replace(addr, "https:", "tls:", 1)} {
		cli := dialHTTP(t, url, &ClientOpts{TLS: w.client, Auth: login{"ada", "s3crét%"}})
		if s, err := Call[string](t.Context(), cli, "/me", nil); err != nil || s != "adatrue" {
			t.Errorf("%s: %q, %v", url, s, err)
		}
	}
	cli := dialHTTP(t, addr, &ClientOpts{TLS: w.client, Auth: login{"ada", "x"}})
	if err := cli.Call(t.Context(), "/me", nil, nil); !errors.Is(err, Unauthenticated) || Outcome(err) != NotProcessed {
		t.Errorf("wrong: %v is %v", err, Outcome(err))
	}
	if _, err := Dial(t.Context(), addr, nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	if _, err := Dial(t.Context(), strings.Replace(addr, "https:", "http:", 1), &ClientOpts{TLS: w.client}); err == nil || !strings.Contains(err.Error(), "write https://") {
		t.Errorf("without TLS: %v", err)
	}
}

// A client goes through a proxy that passes nothing but plain requests on, to a server mounted under a prefix.
func TestHTTPClientProxy(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", srv))
	back := httptest.NewServer(mux)
	defer back.Close()
	target, _ := url.Parse(back.URL)
	proxy := httptest.NewServer(reverseProxy(target))
	defer proxy.Close()
	cli := dialHTTP(t, proxy.URL+"/api", nil)
	if u, err := Call[webUser](t.Context(), cli, "/user/get", webQuery{7}); err != nil || u.ID != 7 {
		t.Errorf("%+v, %v", u, err)
	}
	n := 0
	for _, err := range Receive[webUser](t.Context(), cli, "/users", webQuery{5}) {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d items", n)
	}
}

// FuzzHTTPEvents: events come as they were written, and nothing that others write makes one beyond the limit.
func FuzzHTTPEvents(f *testing.F) {
	f.Add([]byte("data: 1\n\nevent: end\ndata: {}\n\n"))
	f.Add([]byte(": comment\r\ndata:a\r\ndata:b\r\n\r\nevent: error\n\ndata"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &eventReader{lines: lineReader{r: bytes.NewReader(text), most: 100, begun: func() {}, ended: func() {}, blank: true}}
		for n := 0; ; n++ {
			event, data, err := r.next()
			if err != nil {
				return
			}
			if n > len(text) || len(data) > 100 || strings.ContainsAny(event, "\n") {
				t.Fatalf("%q: event %q with %q", text, event, data)
			}
		}
	})
}

// reverseProxy returns a proxy that buffers no answer.
func reverseProxy(target *url.URL) http.Handler {
	p := httputil.NewSingleHostReverseProxy(target)
	p.FlushInterval = -1
	return p
}
