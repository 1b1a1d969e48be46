package flyrpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// webServer is a server reached by HTTP over memory.
type webServer struct {
	*Server
	t   testing.TB
	cli *http.Client
}

// newWebServer returns a server that serves HTTP. setup registers handlers.
func newWebServer(t testing.TB, opts *ServerOpts, setup func(*Server)) *webServer {
	t.Helper()
	srv := quietServer(t, opts)
	if setup != nil {
		setup(srv)
	}
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return servePipe(srv), nil }}
	t.Cleanup(tr.CloseIdleConnections)
	return &webServer{srv, t, &http.Client{Transport: tr}}
}

// webAnswer is an answer by HTTP, read to its end.
type webAnswer struct {
	*http.Response
	body string
	err  error // of reading the body
}

// do sends a request. header has names and values by turns.
func (s *webServer) do(method, path, body string, header ...string) webAnswer {
	s.t.Helper()
	return s.doReader(method, path, strings.NewReader(body), header...)
}

func (s *webServer) doReader(method, path string, body io.Reader, header ...string) webAnswer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://fly.test"+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := s.cli.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return webAnswer{resp, string(b), err}
}

// want checks an answer.
func (a webAnswer) want(t testing.TB, status int, contentType, body string) {
	t.Helper()
	if status == 200 && contentType == mimeJSON {
		body += "\n"
	}
	if a.StatusCode != status || a.Header.Get("Content-Type") != contentType || a.body != body {
		t.Errorf("got %d, %q, %q; want %d, %q, %q", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, contentType, body)
	}
}

// wantHeader checks a header of an answer.
func (a webAnswer) wantHeader(t testing.TB, name, value string) {
	t.Helper()
	if got := a.Header.Get(name); got != value {
		t.Errorf("%s is %q, want %q", name, got, value)
	}
}

type webQuery struct{ ID int }

type webUser struct {
	ID   int
	Name string
}

// webHandlers registers one handler of each shape.
func webHandlers(s *Server) {
	s.OnMessage("/user/get", func(q *webQuery) (*webUser, error) {
		if q.ID == 0 {
			return nil, Errorf(BadRequest, "id is required").WithDetails(map[string]any{"field": "ID"})
		}
		return &webUser{q.ID, "Ada"}, nil
	})
	s.OnMessage("/text", func(s string) string { return "<" + s + ">" })
	s.OnMessage("/bytes", func(b []byte) ([]byte, error) { return append(b, 0), nil })
	s.OnMessage("/any", func(v any) (any, error) { return v, nil })
	s.OnMessage("/none", func() {})
	s.OnMessage("bare.name", func() string { return "bare" })
	s.OnMessage("/by/{id}", func(c *Context) string { return c.Param("id") })
	s.OnMessage("/users", func(q *webQuery) iter.Seq2[*webUser, error] {
		return func(yield func(*webUser, error) bool) {
			for i := range q.ID {
				if !yield(&webUser{i, "Ada"}, nil) {
					return
				}
			}
			if q.ID == 2 {
				yield(nil, Errorf(Conflict, "two are one too many"))
			}
		}
	})
	s.OnMessage("/sum", func(items iter.Seq2[webQuery, error]) (int, error) {
		n := 0
		for q, err := range items {
			if err != nil {
				return 0, err
			}
			n += q.ID
		}
		return n, nil
	})
	s.OnMessage("/scale", func(q *webQuery, items iter.Seq2[int, error]) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n, err := range items {
				if !yield(n*q.ID, err) {
					return
				}
			}
		}
	})
	s.OnMessage("/upper", func(r io.Reader) (io.Reader, error) {
		pr, pw := io.Pipe()
		go func() {
			buf := make([]byte, 100)
			for {
				n, err := r.Read(buf)
				if _, werr := pw.Write([]byte(strings.ToUpper(string(buf[:n])))); werr != nil {
					return
				}
				if err != nil {
					pw.CloseWithError(err)
					return
				}
			}
		}()
		return pr, nil
	})
}

func TestHTTPUnary(t *testing.T) {
	s := newWebServer(t, nil, webHandlers)
	s.do("POST", "/user/get", `{"ID":7}`).want(t, 200, mimeJSON, `{"ID":7,"Name":"Ada"}`)
	a := s.do("POST", "/user/get", ``, "Content-Type", "application/x-www-form-urlencoded")
	a.want(t, 400, mimeJSON, `{"code":"BAD_REQUEST","message":"id is required","details":{"field":"ID"}}`+"\n")
	a.wantHeader(t, "Fly-Outcome", "answered")
	s.do("POST", "/text", `"a`).want(t, 200, mimeText, `<"a>`)
	s.do("POST", "/bytes", "\x00\xff").want(t, 200, mimeBytes, "\x00\xff\x00")
	s.do("POST", "/any", `[1,"a"]`).want(t, 200, mimeJSON, `[1,"a"]`)
	s.do("POST", "/none", ``).want(t, 204, "", "")
	s.do("POST", "/bare.name", ``).want(t, 200, mimeText, "bare")
	s.do("POST", "/by/a%2Fb%20c", ``).want(t, 404, mimeJSON, `{"code":"NOT_FOUND","message":"no handler for \"/by/a/b c\""}`+"\n")
	s.do("POST", "/by/b%20c", ``).want(t, 200, mimeText, "b c")
	s.do("POST", "/user/get", `{"ID":"x"}`).wantHeader(t, "Fly-Outcome", "answered")
	for _, path := range []string{"/", "/nothing", "/fly.hello", "/fly.ping", "/fly.bye", "//user/get", "/user/get/"} {
		a := s.do("POST", path, "{}")
		if a.StatusCode != 404 || a.Header.Get("Fly-Outcome") != "not-processed" {
			t.Errorf("%s: %d %q %q", path, a.StatusCode, a.Header, a.body)
		}
	}
}

func TestHTTPStreams(t *testing.T) {
	s := newWebServer(t, nil, webHandlers)
	s.do("POST", "/users", `{"ID":3}`).want(t, 200, mimeLines, `{"ID":0,"Name":"Ada"}`+"\n"+`{"ID":1,"Name":"Ada"}`+"\n"+`{"ID":2,"Name":"Ada"}`+"\n")
	s.do("POST", "/users", `{}`).want(t, 200, mimeLines, "")
	s.do("POST", "/users", `{"ID":2}`).want(t, 200, mimeLines,
		`{"ID":0,"Name":"Ada"}`+"\n"+`{"ID":1,"Name":"Ada"}`+"\n"+`{"error":{"code":"CONFLICT","message":"two are one too many"}}`+"\n")
	s.do("POST", "/users", `{"ID":2}`, "Accept", "text/event-stream").want(t, 200, mimeEvents,
		`data: {"ID":0,"Name":"Ada"}`+"\n\n"+`data: {"ID":1,"Name":"Ada"}`+"\n\n"+"event: error\ndata: "+`{"code":"CONFLICT","message":"two are one too many"}`+"\n\n")
	s.do("POST", "/users", `{"ID":1}`, "Accept", "text/html, text/event-stream;q=0.5").want(t, 200, mimeEvents,
		`data: {"ID":0,"Name":"Ada"}`+"\n\nevent: end\ndata: {}\n\n")
	s.do("POST", "/sum", "{\"ID\":1}\n\n {\"ID\":2}\r\n{\"ID\":3}").want(t, 200, mimeJSON, "6")
	s.do("POST", "/scale", "1\n2\n3\n", "Fly-Message", `{"ID":10}`).want(t, 200, mimeLines, "10\n20\n30\n")
	s.do("POST", "/upper", strings.Repeat("abc", 100_000)).want(t, 200, mimeBytes, strings.Repeat("ABC", 100_000))
	s.do("POST", "/sum", "{\"ID\":1}\nx\n").want(t, 400, mimeJSON, `{"code":"BAD_REQUEST","message":"1 bytes of json are no flyrpc.webQuery: json: 'x' at byte 0; expected a value"}`+"\n")
}

// TestHTTPOnePort calls by HTTP, in packets and by HTTP over TLS, all on one listener.
func TestHTTPOnePort(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	mem := transport.NewMem()
	l, err := mem.Listen(t.Context(), mustURL(t, "mem://web"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	cli, err := Dial(t.Context(), "mem://web", &ClientOpts{Transports: []transport.Transport{mem}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	var u webUser
	if err := cli.Call(t.Context(), "/user/get", webQuery{7}, &u); err != nil || u.ID != 7 {
		t.Errorf("in packets: %+v, %v", u, err)
	}
	nc, err := mem.Dial(t.Context(), mustURL(t, "mem://web"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(nc, "POST /user/get HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"ID\":7}")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("by HTTP: %v, %v", resp, err)
	}
	if n := len(srv.Conns()); n != 1 {
		t.Errorf("%d connections, want the client's alone", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := nc.Read(make([]byte, 10)); err == nil {
		t.Error("the connection by HTTP is open after Shutdown")
	}
}

func mustURL(t testing.TB, addr string) *url.URL {
	t.Helper()
	u, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
