package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHTTPMethods(t *testing.T) {
	s := newWebServer(t, nil, webHandlers)
	s.do("GET", "/", "").want(t, 200, mimeText, "This is a FlyRPC server. Call its handlers by POST, with the message in JSON:\n\n"+
		"curl http://fly.test/path/of/handler -d '{}'\n\nGET on the path of a handler says more.\n")
	s.do("GET", "/user/get?x=y", "").want(t, 200, mimeText, "Call this handler by POST:\n\ncurl http://fly.test/user/get -d '{\"ID\":0}'\n")
	for path, want := range map[string]string{
		"/text":   "curl http://fly.test/text -d text\n",
		"/none":   "curl http://fly.test/none -d ''\n\nIt takes no message.\n",
		"/users":  "It answers with items, one on each line, or as server-sent events if Accept says text/event-stream.\n",
		"/sum":    "curl http://fly.test/sum -X POST -N -T -\n\nThe body is items, one on each line, in JSON.\n",
		"/scale":  "curl http://fly.test/scale -H 'Fly-Message: {\"ID\":0}' -X POST -N -T -\n",
		"/upper":  "The body is bytes that the handler reads as they come.",
		"/by/a'b": `curl 'http://fly.test/by/a'\''b' -d ''`,
	} {
		if a := s.do("GET", path, ""); a.StatusCode != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %q has no %q", path, a.StatusCode, a.body, want)
		}
	}
	if a := s.do("HEAD", "/user/get", ""); a.StatusCode != 200 || a.body != "" || a.ContentLength <= 0 {
		t.Errorf("HEAD: %d %q, %d bytes", a.StatusCode, a.body, a.ContentLength)
	}
	s.do("GET", "/nothing", "").want(t, 404, mimeJSON, `{"code":"NOT_FOUND","message":"no handler for \"/nothing\""}`+"\n")
	a := s.do("OPTIONS", "/user/get", "", "Origin", "https://other.test", "Access-Control-Request-Method", "POST")
	a.want(t, 204, "", "")
	a.wantHeader(t, "Allow", "GET, HEAD, OPTIONS, POST")
	a.wantHeader(t, "Access-Control-Allow-Origin", "")
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		a := s.do(method, "/user/get", `{"ID":7}`)
		a.want(t, 405, mimeJSON, fmt.Sprintf(`{"code":"BAD_REQUEST","message":"the method \"%s\" is none of GET, HEAD, OPTIONS, POST"}`+"\n", method))
		a.wantHeader(t, "Allow", "GET, HEAD, OPTIONS, POST")
		a.wantHeader(t, "Fly-Outcome", "not-processed")
	}
	s.do("POST", "/text", "x", "Content-Encoding", "gzip").want(t, 415, mimeJSON, `{"code":"BAD_REQUEST","message":"the body is encoded as \"gzip\": send it as it is"}`+"\n")
	s.do("POST", "/text", "x", "Content-Encoding", "identity").want(t, 200, mimeText, "<x>")
}

func TestHTTPOrigins(t *testing.T) {
	own := newWebServer(t, nil, webHandlers)
	listed := newWebServer(t, &ServerOpts{Origins: []string{"https://app.test"}}, webHandlers)
	all := newWebServer(t, &ServerOpts{Origins: []string{"*"}}, webHandlers)
	tests := []struct {
		srv                    *webServer
		origin, site           string
		status                 int
		allowed, credentialled string
	}{
		{own, "", "", 200, "", ""},
		{own, "http://fly.test", "same-origin", 200, "", ""},
		{own, "http://fly.test", "", 200, "", ""},
		{own, "https://app.test", "cross-site", 403, "", ""},
		{own, "https://app.test", "", 403, "", ""},
		{own, "null", "cross-site", 403, "", ""},
		{own, "http://sub.fly.test", "same-site", 403, "", ""},
		{listed, "https://app.test", "cross-site", 200, "https://app.test", "true"},
		{listed, "https://other.test", "cross-site", 403, "", ""},
		{all, "https://other.test", "cross-site", 200, "*", ""},
		{all, "null", "cross-site", 200, "*", ""},
	}
	for _, tt := range tests {
		a := tt.srv.do("POST", "/text", "x", "Origin", tt.origin, "Sec-Fetch-Site", tt.site)
		if a.StatusCode != tt.status {
			t.Errorf("%q, %q: %d %q", tt.origin, tt.site, a.StatusCode, a.body)
		}
		if tt.status == 403 && !strings.Contains(a.body, `"FORBIDDEN","message":"a page of \"`+tt.origin+`\" may not call this server: list its origin in ServerOpts.Origins`) {
			t.Errorf("%q: %q", tt.origin, a.body)
		}
		a.wantHeader(t, "Access-Control-Allow-Origin", tt.allowed)
		a.wantHeader(t, "Access-Control-Allow-Credentials", tt.credentialled)
		if tt.allowed != "" {
			a.wantHeader(t, "Access-Control-Expose-Headers", "Fly-Outcome")
			a.wantHeader(t, "Vary", "Origin")
		}
	}
	a := listed.do("OPTIONS", "/text", "", "Origin", "https://app.test", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,fly-meta-a")
	a.wantHeader(t, "Access-Control-Allow-Methods", "POST")
	a.wantHeader(t, "Access-Control-Allow-Headers", "content-type,fly-meta-a")
	a.wantHeader(t, "Access-Control-Max-Age", "600")
	a = listed.do("OPTIONS", "/text", "", "Origin", "https://other.test", "Access-Control-Request-Method", "POST")
	a.wantHeader(t, "Access-Control-Allow-Methods", "")
	for _, bad := range []string{"app.test", "https://app.test/", "https://", "%"} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "ServerOpts.Origins") {
					t.Errorf("%q: %v", bad, r)
				}
			}()
			NewServer(&ServerOpts{Origins: []string{bad}})
		}()
	}
}

func TestHTTPMeta(t *testing.T) {
	s := newWebServer(t, nil, func(srv *Server) {
		srv.OnMessage("/meta", func(c *Context) Metadata {
			_ = c.SetMeta("request-id", "7")
			_ = c.SetMeta("Größe", "1\r\nSet-Cookie: x=y 100%")
			return c.Meta()
		})
		srv.OnMessage("/items", func(c *Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) { yield(1, nil); _ = c.SetMeta("after", "items") }
		})
	})
	a := s.do("POST", "/meta", "", "Fly-Meta-Request-ID", "a%20b%", "Fly-Meta-List", "1", "Fly-Meta-List", "2", "Fly-Meta-User%49D", "u", "Fly-Meta-", "none", "Cookie", "c=d")
	a.want(t, 200, mimeJSON, `{"list":"1, 2","request-id":"a b%","userId":"u"}`)
	a.wantHeader(t, "Fly-Meta-Request-Id", "7")
	a.wantHeader(t, "Fly-Meta-%47r%C3%B6%C3%9fe", "1%0D%0ASet-Cookie: x=y 100%25")
	if a := s.do("POST", "/items", ""); a.body != "1\n" || a.Trailer.Get("Fly-Meta-After") != "items" {
		t.Errorf("%q, %v", a.body, a.Trailer)
	}
	a = s.do("POST", "/meta", "", "Fly-Meta-Large", strings.Repeat("x", 9<<10))
	if a.StatusCode != 413 || !strings.Contains(a.body, "metadata") {
		t.Errorf("large metadata: %d %q", a.StatusCode, a.body)
	}
}

func TestHTTPTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := newWebServer(t, nil, func(srv *Server) {
			srv.OnMessage("/wait", func(c *Context) error {
				<-c.Done()
				ended <- c.Err()
				return c.Err()
			})
		})
		begin := time.Now()
		a := s.do("POST", "/wait", "", "Fly-Timeout", "250ms")
		a.want(t, 504, mimeJSON, `{"code":"TIMEOUT","message":"the 250ms of the header Fly-Timeout have passed"}`+"\n")
		a.wantHeader(t, "Fly-Outcome", "unknown")
		if d := time.Since(begin); d != 250*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		if err := <-ended; err == nil {
			t.Error("the handler's context has no error")
		}
		for _, bad := range []string{"0", "-1s", "5", "soon"} {
			if a := s.do("POST", "/wait", "", "Fly-Timeout", bad); a.StatusCode != 400 || !strings.Contains(a.body, "Fly-Timeout") {
				t.Errorf("%q: %d %q", bad, a.StatusCode, a.body)
			}
		}
		// A client that goes away cancels the call.
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "POST", "http://fly.test/wait", nil)
		time.AfterFunc(time.Second, cancel)
		if _, err := s.cli.Do(r); !errors.Is(err, context.Canceled) {
			t.Errorf("Do: %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context: %v", err)
		}
	})
}

// Each call has an identity of its own, OnConnect and OnDisconnect run for it, and what it is can't be called.
func TestHTTPIdentity(t *testing.T) {
	gone := make(chan string, 10)
	s := newWebServer(t, &ServerOpts{
		Auth: func(_ context.Context, c *Credentials) (any, error) {
			if c.Version != 0 || c.RemoteAddr == nil || c.TLS != nil {
				t.Errorf("the credentials are %+v", c)
			}
			switch who := c.Header.Get("Authorization"); who {
			case "":
				return nil, errors.New("who are you?")
			case "panic":
				panic("secret")
			case "banned":
				return nil, Errorf(Forbidden, "not you")
			default:
				return who, nil
			}
		},
	}, func(srv *Server) {
		srv.OnMessage("/me", func(c *Context) string {
			who, _ := c.Conn().Value("who").(string)
			return fmt.Sprint(c.Conn().Identity(), who, c.Conn().Header().Get("Authorization"), c.Conn().PeerInfo().Version, c.Conn().PeerInfo().Agent)
		})
		srv.OnMessage("/back", func(c *Context) []string {
			var errs []string
			_, ping := c.Ping(1, 0)
			_, connPing := c.Conn().Ping(1, 0)
			_, stream := c.Conn().OpenStream(c, "/x", nil)
			for _, err := range []error{c.Call("/x", nil, nil), c.SendMessage("/x", nil), ping, connPing, stream} {
				if Outcome(err) != NotSent {
					t.Errorf("%v is %v", err, Outcome(err))
				}
				errs = append(errs, err.Error()[:40])
			}
			return errs
		})
		srv.OnConnect(func(c *Context) error {
			who, _ := c.Conn().Identity().(string)
			c.Conn().SetValue("who", "+")
			if who == "unwanted" {
				return Errorf(Busy, "not now")
			}
			return nil
		})
		srv.OnDisconnect(func(c *Context, err error) { gone <- fmt.Sprint(c.Conn().Identity(), err) })
	})
	a := s.do("POST", "/me", "")
	a.want(t, 401, mimeJSON, `{"code":"UNAUTHENTICATED","message":"who are you?"}`+"\n")
	a.wantHeader(t, "WWW-Authenticate", "Bearer")
	a.wantHeader(t, "Fly-Outcome", "not-processed")
	s.do("GET", "/me", "").want(t, 401, mimeJSON, `{"code":"UNAUTHENTICATED","message":"who are you?"}`+"\n")
	s.do("POST", "/nothing", "").want(t, 401, mimeJSON, `{"code":"UNAUTHENTICATED","message":"who are you?"}`+"\n")
	s.do("POST", "/me", "", "Authorization", "banned").want(t, 403, mimeJSON, `{"code":"FORBIDDEN","message":"not you"}`+"\n")
	s.do("POST", "/me", "", "Authorization", "panic").want(t, 500, mimeJSON, `{"code":"INTERNAL","message":"the credentials could not be checked"}`+"\n")
	s.do("POST", "/me", "", "Authorization", "ada").want(t, 200, mimeText, "ada+ada0HTTP")
	if who := <-gone; who != "ada<nil>" {
		t.Errorf("OnDisconnect ran for %s", who)
	}
	s.do("POST", "/me", "", "Authorization", "bob").want(t, 200, mimeText, "bob+bob0HTTP")
	a = s.do("POST", "/me", "", "Authorization", "unwanted")
	a.want(t, 429, mimeJSON, `{"code":"BUSY","message":"not now"}`+"\n")
	a.wantHeader(t, "Fly-Outcome", "not-processed")
	one := `"BAD_REQUEST: the client calls by HTTP, w"`
	s.do("POST", "/back", "", "Authorization", "ada").want(t, 200, mimeJSON, "["+strings.Repeat(one+",", 4)+one+"]")
}

func TestHTTPLimits(t *testing.T) {
	s := newWebServer(t, &ServerOpts{MaxMessage: 1 << 20}, func(srv *Server) {
		webHandlers(srv)
		srv.OnMessage("/large", func(n int) []byte { return make([]byte, n) })
		srv.OnMessage("/larges", func(n int) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) { yield(make([]byte, n), nil) }
		})
	})
	body := strings.Repeat("x", 1<<20)
	s.do("POST", "/text", body[2:]).want(t, 200, mimeText, "<"+body[2:]+">")
	s.do("POST", "/bytes", body).want(t, 413, mimeJSON, `{"code":"BUFF_TOO_LONG","message":"the reply has 1048577 bytes, the other end accepts 1048576"}`+"\n")
	tooLong := `{"code":"BUFF_TOO_LONG","message":"the message has more than the 1048576 bytes that are accepted"}` + "\n"
	s.do("POST", "/bytes", body+"x").want(t, 413, mimeJSON, tooLong)
	s.doReader("POST", "/bytes", io.MultiReader(strings.NewReader(body), strings.NewReader("x"))).want(t, 413, mimeJSON, tooLong) // in chunks
	s.do("POST", "/sum", body+"x").want(t, 413, mimeJSON, `{"code":"BUFF_TOO_LONG","message":"a line of the body has more than the 1048576 bytes that are accepted"}`+"\n")
	s.do("POST", "/sum", strings.Repeat(" ", 1<<20-8)+`{"ID":1}`+"\n"+`{"ID":2}`).want(t, 200, mimeJSON, "3")
	s.do("POST", "/upper", body+body+"x").want(t, 200, mimeBytes, strings.ToUpper(body+body+"x"))
	if a := s.do("POST", "/large", "1048576"); len(a.body) != 1<<20 {
		t.Errorf("a reply at the limit: %d, %d bytes", a.StatusCode, len(a.body))
	}
	if a := s.do("POST", "/larges", "1048577"); a.StatusCode != 413 && !strings.Contains(a.body, "BUFF_TOO_LONG") {
		t.Errorf("an item over the limit: %d %q", a.StatusCode, a.body)
	}
}
