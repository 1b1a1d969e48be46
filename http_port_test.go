package flyrpc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Connections beyond MaxConns are told so, and one that has ended makes room.
func TestHTTPMaxConns(t *testing.T) {
	srv := quietServer(t, &ServerOpts{MaxConns: 1})
	webHandlers(srv)
	first := servePipe(srv)
	_, _ = io.WriteString(first, "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("the first: %v, %v", resp, err)
	}
	got := portExchange(t, srv, "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if len(got) != 1 || got[0].status != 429 || !got[0].close || !strings.Contains(got[0].body, "at most 1 connections") {
		t.Errorf("the second: %+v", got)
	}
	first.Close()
	if !eventually(func() bool {
		got := portExchange(t, srv, "POST /text HTTP/1.0\r\nContent-Length: 1\r\n\r\na")
		return len(got) == 1 && got[0].status == 200
	}) {
		t.Error("there is no room when the first has ended")
	}
}

// Shutdown lets calls by HTTP end, or answers them at its deadline; Close ends them.
func TestHTTPShutdown(t *testing.T) {
	for name, tt := range map[string]struct {
		patience time.Duration
		status   int
		body     string
	}{
		"in time": {time.Minute, 200, "done"},
		"late":    {5 * time.Second, 503, `{"code":"UNAVAILABLE","message":"the server is shutting down"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newWebServer(t, nil, func(srv *Server) {
					srv.OnMessage("/work", func(c *Context) string {
						select {
						case <-time.After(30 * time.Second):
						case <-c.Done():
						}
						return "done"
					})
				})
				answer := make(chan webAnswer, 1)
				go func() { answer <- s.do("POST", "/work", "") }()
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), tt.patience)
				defer cancel()
				err := s.Shutdown(ctx)
				if late := tt.status != 200; (err != nil) != late {
					t.Errorf("Shutdown: %v", err)
				}
				if a := <-answer; a.StatusCode != tt.status || a.body != tt.body {
					t.Errorf("got %d %q", a.StatusCode, a.body)
				}
			})
		})
	}
}

// ServeHTTP serves in any mux, under any path, also what other servers have accepted.
func TestHTTPMounted(t *testing.T) {
	srv := quietServer(t, &ServerOpts{TLS: nil})
	webHandlers(srv)
	srv.OnMessage("/who", func(c *Context) string {
		return fmt.Sprint(c.Conn().RemoteAddr().Network(), c.Conn().TLS() != nil, c.Conn().LocalAddr() != nil)
	})
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", srv))
	for _, h2 := range []bool{false, true} {
		front := httptest.NewUnstartedServer(mux)
		front.EnableHTTP2 = h2
		front.StartTLS()
		s := &webServer{srv, t, front.Client()}
		post := func(path, body string) webAnswer {
			r, _ := http.NewRequestWithContext(t.Context(), "POST", front.URL+path, strings.NewReader(body))
			resp, err := s.cli.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return webAnswer{resp, string(b), err}
		}
		post("/api/who", "").want(t, 200, mimeText, "tcptrue true")
		post("/api/sum", "{\"ID\":1}\n{\"ID\":2}\n").want(t, 200, mimeJSON, "3")
		post("/api/upper", strings.Repeat("a", 1<<20)).want(t, 200, mimeBytes, strings.Repeat("A", 1<<20))
		post("/api/nothing", "").want(t, 404, mimeJSON, `{"code":"NOT_FOUND","message":"no handler for \"/nothing\""}`+"\n")
		r, _ := http.NewRequestWithContext(t.Context(), "GET", front.URL+"/api/text", nil)
		resp, err := s.cli.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(b), "curl "+front.URL+"/api/text -d text") {
			t.Errorf("the page says %q", b)
		}
		front.Close()
	}
	w := httptest.NewRecorder() // which can't do what connections can
	srv.ServeHTTP(w, httptest.NewRequest("POST", "/sum", strings.NewReader(`{"ID":1}`)))
	if w.Code != 200 || w.Body.String() != "1\n" {
		t.Errorf("in a recorder: %d %q", w.Code, w.Body)
	}
	srv.Close()
	w = httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("POST", "/text", strings.NewReader("")))
	if w.Code != 503 || w.Header().Get("Fly-Outcome") != "not-processed" {
		t.Errorf("after Close: %d %q %v", w.Code, w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	quietServer(t, &ServerOpts{NoHTTP: true}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 404 || !strings.Contains(w.Body.String(), "NoHTTP") {
		t.Errorf("with NoHTTP: %d %q", w.Code, w.Body)
	}
}

// A header may have 64 KiB.
func TestHTTPHeaderLimit(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	head := "POST /text HTTP/1.0\r\nContent-Length: 1\r\nA: "
	for size, status := range map[int]int{maxHTTPHeader: 200, maxHTTPHeader + 16: 431} {
		got := portExchange(t, srv, head+strings.Repeat("x", size-len(head)-5)+"\r\n\r\n"+"a")
		if len(got) != 1 || got[0].status != status {
			t.Errorf("a header of %d bytes: %+v", size, got)
		}
	}
}

// A connection is kept for three minutes between requests, or for IdleTimeout.
func TestHTTPIdle(t *testing.T) {
	for idle, want := range map[time.Duration]time.Duration{0: httpIdle, time.Minute: time.Minute, time.Hour: httpIdle} {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{IdleTimeout: idle})
			webHandlers(srv)
			nc := servePipe(srv)
			defer nc.Close()
			begin := time.Now()
			r := bufio.NewReader(nc)
			for range 2 {
				_, _ = io.WriteString(nc, "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				time.Sleep(want - time.Millisecond)
			}
			if _, err := r.ReadByte(); err != io.EOF || time.Since(begin) < 2*want-2*time.Millisecond || time.Since(begin) > 2*want {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}

// TestHTTPStatusDoc holds the table of docs/http.md to the code.
func TestHTTPStatusDoc(t *testing.T) {
	text, err := os.ReadFile("docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Statuses\n")
	section, _, _ = strings.Cut(section, "\n## ")
	codes := map[Code]bool{
		Timeout: true, NotFound: true, TooLong: true, HandlerPanic: true, BadRequest: true, Unauthenticated: true, Forbidden: true,
		Busy: true, Canceled: true, Unavailable: true, Conflict: true, Internal: true, Failed: true, "any other": true,
	}
	for _, row := range tableRows(section) {
		if row[0] == "---" {
			continue
		}
		code := Code(row[0])
		if !codes[code] || fmt.Sprint(httpStatus(code)) != row[1] {
			t.Errorf("%s is %d, the table says %s", code, httpStatus(code), row[1])
		}
		delete(codes, code)
	}
	if len(codes) > 0 {
		t.Errorf("not in the table: %v", codes)
	}
}

// Over HTTP/2 an answer that comes before the body has ended closes nothing: other calls share the connection.
func TestHTTPMountedKeepsHTTP2(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	web := httptest.NewUnstartedServer(srv)
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	for i := range 3 {
		reused := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL+"/sum", strings.NewReader("{\"ID\":1}\n{\"ID\":2}\n"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != "3\n" || resp.ProtoMajor != 2 {
			t.Errorf("got %q, %v, by %s", b, err, resp.Proto)
		}
		if reused != (i > 0) {
			t.Errorf("call %d: the connection is an old one: %v", i, reused)
		}
		time.Sleep(50 * time.Millisecond) // the end of a connection would be heard of meanwhile
	}
}
