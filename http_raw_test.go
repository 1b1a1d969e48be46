package flyrpc

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// portAnswer is what a server answers to bytes.
type portAnswer struct {
	status int
	close  bool // it says that it closes the connection
	body   string
}

// portExchange writes bytes to a new connection and reads answers until it ends.
func portExchange(t *testing.T, srv *Server, text string) (answers []portAnswer) {
	t.Helper()
	nc := servePipe(srv)
	defer nc.Close()
	go func() { _, _ = io.WriteString(nc, text) }()
	_ = nc.SetReadDeadline(time.Now().Add(time.Minute))
	for r := bufio.NewReader(nc); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("%.60q: the answer is cut: %v", text, err)
		}
		answers = append(answers, portAnswer{resp.StatusCode, resp.Close, string(b)})
	}
}

// Malformed requests get a clear error and their connection closed; nothing that hides in them is called.
func TestHTTPMalformed(t *testing.T) {
	big := strings.Repeat("x", 100<<10)
	hidden := "POST /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	tests := []struct {
		name, text string
		status     int
	}{
		{"length and chunks", "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 200},
		{"chunks and length", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n" + hidden, 200},
		{"two lengths", "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n" + hidden, 400},
		{"a signed length", "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello" + hidden, 400},
		{"a negative length", "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + hidden, 400},
		{"two encodings", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, 501},
		{"an unknown encoding", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, 501},
		{"a tab before the colon", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + hidden, 400},
		{"bad chunking", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" + hidden, 400},
		{"a chunk too long", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + hidden, 400},
		{"a chunk without its end", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + hidden, 400},
		{"no host", "POST /text HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + hidden, 400},
		{"two hosts", "POST /text HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n" + hidden, 400},
		{"a header without a name", "POST /text HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n" + hidden, 400},
		{"a header with a zero byte", "POST /text HTTP/1.1\r\nHost: x\r\nFly-Meta-A: a\x00b\r\n\r\n" + hidden, 400},
		{"a long header", "POST /text HTTP/1.1\r\nHost: x\r\nFly-Meta-A: " + big + "\r\n\r\n" + hidden, 431},
		{"many headers", "POST /text HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 20_000) + "\r\n" + hidden, 431},
		{"a long path", "POST /" + big + " HTTP/1.1\r\nHost: x\r\n\r\n" + hidden, 431},
		{"no version", "POST /text\r\n\r\n" + hidden, 400},
		{"another version", "POST /text HTTP/3.0\r\nHost: x\r\n\r\n" + hidden, 505},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden, 505},
		{"no request", "GARBAGE\r\n\r\n" + hidden, 400},
		{"an expectation", "POST /text HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 0\r\n\r\n", 417},
		{"a body in a page's request", "GET /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := quietServer(t, nil)
			webHandlers(srv)
			srv.OnMessage("/hidden", func() { t.Error("what hides behind a request was called") })
			got := portExchange(t, srv, tt.text)
			if len(got) != 1 || got[0].status != tt.status || !got[0].close {
				t.Errorf("got %+v; want %d and the end", got, tt.status)
			}
			if other := portExchange(t, srv, "POST /text HTTP/1.0\r\nContent-Length: 1\r\n\r\na"); len(other) != 1 || other[0].body != "<a>" {
				t.Errorf("another connection: %+v", other)
			}
		})
	}
}

// Requests that are sent ahead are answered in their order, and the forms of HTTP's first line all work.
func TestHTTPPipelined(t *testing.T) {
	srv := quietServer(t, nil)
	webHandlers(srv)
	got := portExchange(t, srv, "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"+
		"POST http://elsewhere.test/text?x=y HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n2"+
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"+
		"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"+
		"POST /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n4\r\n0\r\nTrailer: x\r\n\r\n")
	var text []string
	for _, a := range got {
		text = append(text, fmt.Sprint(a.status, a.close, " ", a.body))
	}
	want := "200 false <1>; 200 false <2>; 200 false ; 404 false {\"code\":\"NOT_FOUND\",\"message\":\"no handler for \\\"/nothing\\\"\"}\n; 200 true <4>"
	if s := strings.Join(text, "; "); s != want {
		t.Errorf("got %q\nwant %q", s, want)
	}
}

// A request that comes byte by byte is cut: its header after HelloTimeout, its body as ReadTimeout says, a line of items too.
func TestHTTPSlow(t *testing.T) {
	tests := []struct {
		name, head string
		each       time.Duration
		after      time.Duration
		status     int
	}{
		{"header", "POST /text HTTP/1.1\r\nHost: ", 100 * time.Millisecond, 3 * time.Second, 0},
		{"body", "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", time.Second, 30 * time.Second, 408},
		{"chunks", "POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", time.Second, 30 * time.Second, 408},
		{"line", "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", time.Second, 30 * time.Second, 408},
		{"refused", "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", time.Second, 0, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, nil)
				webHandlers(srv)
				nc := servePipe(srv)
				defer nc.Close()
				begin := time.Now()
				_, _ = io.WriteString(nc, tt.head)
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					for {
						select {
						case <-time.After(tt.each):
							_, _ = io.WriteString(nc, "1")
						case <-stop:
							return
						}
					}
				}()
				resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
				if took := time.Since(begin); took < tt.after || took > tt.after+2*time.Second {
					t.Errorf("it took %v, want %v", took, tt.after)
				}
				switch {
				case err != nil && tt.status != 0:
					t.Error(err)
				case err == nil && (resp.StatusCode != tt.status || !resp.Close):
					t.Errorf("got %d %v, want %d and the end", resp.StatusCode, resp.Close, tt.status)
				}
			})
		})
	}
}

// A slow line isn't cut as long as it makes 16 KiB in each ReadTimeout, and between two lines any time may pass.
func TestHTTPSlowEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		webHandlers(srv)
		nc := servePipe(srv)
		defer nc.Close()
		_, _ = io.WriteString(nc, "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 65555\r\n\r\n{\"ID\":1}\n{ ")
		for range 4 {
			time.Sleep(29 * time.Second)
			_, _ = io.WriteString(nc, strings.Repeat(" ", 16<<10))
		}
		_, _ = io.WriteString(nc, "\"ID\":2}\n")
		time.Sleep(24 * time.Hour)
		_, _ = io.WriteString(nc, "\n")
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(b) != "3\n" {
			t.Errorf("got %d %q", resp.StatusCode, b)
		}
	})
}
