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
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each item is there as soon as the handler has sent it, and a client that goes away cancels the handler.
func TestHTTPItemsAtOnce(t *testing.T) {
	for _, accept := range []string{"*/*", "text/event-stream"} {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan error, 1)
			s := newWebServer(t, nil, func(srv *Server) {
				srv.OnMessage("/tick", func(c *Context) iter.Seq2[int, error] {
					return func(yield func(int, error) bool) {
						for i := 0; yield(i, nil); i++ {
							select {
							case <-time.After(time.Hour):
							case <-c.Done():
							}
						}
						ended <- c.Err()
					}
				})
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "POST", "http://fly.test/tick", nil)
			r.Header.Set("Accept", accept)
			begin := time.Now()
			resp, err := s.cli.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			for i := 0; i < 3; {
				if !lines.Scan() {
					t.Fatal(lines.Err())
				}
				if lines.Text() == "" {
					continue
				}
				if got := time.Since(begin); got != time.Duration(i)*time.Hour {
					t.Errorf("%q came after %v", lines.Text(), got)
				}
				i++
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the handler's context: %v", err)
			}
		})
	}
}

// A client that doesn't read slows the handler down, and is cut after WriteTimeout.
func TestHTTPSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent, ended := 0, make(chan error, 1)
		srv := quietServer(t, &ServerOpts{StreamWindow: 16 << 10})
		srv.OnMessage("/flood", func(c *Context) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) {
				for ; yield(make([]byte, 1<<10), nil); sent++ {
				}
				<-c.Done()
				ended <- c.Err()
			}
		})
		nc := servePipe(srv)
		defer nc.Close()
		begin := time.Now()
		_, _ = io.WriteString(nc, "POST /flood HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if err := <-ended; err == nil {
			t.Error("the handler's context has not ended")
		}
		if took := time.Since(begin); took < DefaultWriteTimeout || took > DefaultWriteTimeout+time.Second || sent > 500 {
			t.Errorf("it was cut after %v and %d items", took, sent)
		}
	})
}

// What a handler reads is answered before the body has ended.
func TestHTTPBothWays(t *testing.T) {
	for _, path := range []string{"/scale", "/upper"} {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			webHandlers(srv)
			nc := servePipe(srv)
			defer nc.Close()
			_, _ = io.WriteString(nc, "POST "+path+" HTTP/1.1\r\nHost: x\r\nFly-Message: {\"ID\":1}\r\nContent-Length: 6\r\n\r\n1\n")
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(resp.Body)
			for _, next := range []string{"2\n", "3\n", ""} {
				want := map[string]string{"2\n": "1\n", "3\n": "2\n", "": "3\n"}[next]
				if line, err := lines.ReadString('\n'); err != nil || line != want {
					t.Fatalf("%q, %v; want %q", line, err, want)
				}
				_, _ = io.WriteString(nc, next)
			}
			if _, err := lines.ReadByte(); err != io.EOF {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

// A handler that returns before its body has ended is answered at once, and the connection isn't used again.
func TestHTTPBodyLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/first", func(r io.Reader) (string, error) {
			b := make([]byte, 1)
			_, err := io.ReadFull(r, b)
			return string(b), err
		})
		srv.OnMessage("/none", func(iter.Seq2[int, error]) {})
		srv.OnMessage("/hidden", func() { t.Error("a part of the body was called") })
		for path, status := range map[string]int{"/first": 200, "/none": 204} {
			nc := servePipe(srv)
			_, _ = io.WriteString(nc, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1")
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil || resp.StatusCode != status || !resp.Close {
				t.Fatalf("%s: %+v, %v", path, resp, err)
			}
			_, _ = io.WriteString(nc, "POST /hidden HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := io.Copy(io.Discard, nc); err != nil && !isReset(err) {
				t.Errorf("the end: %v", err)
			}
			nc.Close()
		}
	})
}

// isReset reports whether an error is that of a connection that the other end has closed.
func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

// A body that is cut doesn't look to the handler as if it had ended.
func TestHTTPBodyCut(t *testing.T) {
	for path, body := range map[string]string{"/bytes": "abc", "/lines": "1\n2\n3", "/whole": "abc"} {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan error, 1)
			srv := quietServer(t, nil)
			srv.OnMessage("/bytes", func(r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				ended <- err
				return err
			})
			srv.OnMessage("/lines", func(c *Context, items iter.Seq2[int, error]) error {
				for _, err := range items {
					if err != nil {
						ended <- err
						return err
					}
				}
				ended <- nil
				return nil
			})
			srv.OnMessage("/whole", func(string) { ended <- nil })
			nc := servePipe(srv)
			_, _ = io.WriteString(nc, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"+body)
			_ = nc.CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err == nil {
				b, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != 400 || !strings.Contains(string(b), "the body is cut or malformed") {
					t.Errorf("%s: %d %q", path, resp.StatusCode, b)
				}
			}
			nc.Close()
			synctest.Wait()
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s: the handler has seen the end of the body", path)
				}
			default: // it was cancelled before it started
			}
		})
	}
}

// A reader that fails cuts the answer: nothing else can say that bytes are missing.
func TestHTTPReaderFails(t *testing.T) {
	s := newWebServer(t, nil, func(srv *Server) {
		srv.OnMessage("/half", func() io.Reader { return io.MultiReader(strings.NewReader("half"), failing{errors.New("no more")}) })
		srv.OnMessage("/none", func() io.Reader { return failing{errors.New("no more")} })
		srv.OnMessage("/any", func() any { return strings.NewReader("a reader") })
		srv.OnMessage("/empty", func() io.Reader { return strings.NewReader("") })
	})
	if a := s.do("POST", "/half", ""); a.StatusCode != 200 || a.body != "half" || a.err == nil {
		t.Errorf("half: %d %q %v", a.StatusCode, a.body, a.err)
	}
	if a := s.do("POST", "/none", ""); a.StatusCode != 500 || !strings.Contains(a.body, "no more") {
		t.Errorf("none: %d %q", a.StatusCode, a.body)
	}
	s.do("POST", "/any", "").want(t, 200, mimeBytes, "a reader")
	s.do("POST", "/empty", "").want(t, 200, mimeBytes, "")
}

// Items of every kind are JSON on one line.
func TestHTTPItemKinds(t *testing.T) {
	s := newWebServer(t, nil, func(srv *Server) {
		srv.OnMessage("/text", func() iter.Seq2[string, error] {
			return func(yield func(string, error) bool) { _ = yield("a\nb", nil) && yield("<&>", nil) }
		})
		srv.OnMessage("/bytes", func() iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) { yield([]byte("a\n"), nil) }
		})
		srv.OnMessage("/nil", func() iter.Seq2[*int, error] {
			return func(yield func(*int, error) bool) { yield(nil, nil) }
		})
		srv.OnMessage("/wide", func() iter.Seq2[wideJSON, error] {
			return func(yield func(wideJSON, error) bool) { yield(wideJSON{}, nil) }
		})
		srv.OnMessage("/stream", func(st *Stream) error {
			for {
				var s string
				if err := st.Recv(&s); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := st.Send(s + "!"); err != nil {
					return err
				}
			}
		})
	})
	s.do("POST", "/text", "").want(t, 200, mimeLines, "\"a\\nb\"\n\"<&>\"\n")
	s.do("POST", "/bytes", "").want(t, 200, mimeLines, "\"YQo=\"\n")
	s.do("POST", "/nil", "").want(t, 200, mimeLines, "null\n")
	s.do("POST", "/wide", "").want(t, 200, mimeLines, "{\"a\":1}\n")
	s.do("POST", "/stream", "x\n\ty\n").want(t, 200, mimeLines, "\"x!\"\n\"\\ty!\"\n")
}

// wideJSON is a value whose JSON has line breaks.
type wideJSON struct{}

func (wideJSON) MarshalJSON() ([]byte, error) { return []byte("{\n  \"a\": 1\n}"), nil }

// The answer of a handler that leaves its body arrives at a client that sends all of that before it reads.
func TestHTTPAnswerBeforeBody(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("/none", func(iter.Seq2[int, error]) string { return "answer" })
	srv.OnMessage("/reader", func(io.Reader) string { return "answer" })
	srv.OnMessage("/late", func(r io.Reader) string { time.Sleep(10 * time.Millisecond); return "answer" })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	body := strings.Repeat(strings.Repeat("1\n", 1<<12), 12)
	for i, path := range []string{"/none", "/reader", "/late", "/missing"} {
		for _, chunked := range []bool{false, true} {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			if chunked {
				request = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", path, len(body), body)
			}
			for part := range slices.Chunk([]byte(request), 16<<10) {
				if _, err := nc.Write(part); err != nil {
					t.Fatalf("%s, chunked %v: %v", path, chunked, err)
				}
				time.Sleep(2 * time.Millisecond)
			}
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatalf("%s, chunked %v: %v", path, chunked, err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || i < 3 && string(b) != "answer" {
				t.Errorf("%s, chunked %v: %q, %v", path, chunked, b, err)
			}
			nc.Close()
		}
	}
}
