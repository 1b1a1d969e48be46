package flyrpc

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// entrances are connections to a server's port in each state that one can be in. They read what they are answered.
var entrances = map[string]func(t *testing.T, addr string) net.Conn{
	"half a header": func(t *testing.T, addr string) net.Conn { return dialAndSay(t, addr, "POST /echo HTTP/1.1\r\nHost") },
	"half a body": func(t *testing.T, addr string) net.Conn {
		return dialAndSay(t, addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na")
	},
	"idle HTTP": func(t *testing.T, addr string) net.Conn {
		c := dialAndSay(t, addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%+v, %v", resp, err)
		}
		return c
	},
	"items by HTTP": func(t *testing.T, addr string) net.Conn {
		c := dialAndSay(t, addr, "POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%+v, %v", resp, err)
		}
		return c
	},
	"a call by HTTP": func(t *testing.T, addr string) net.Conn {
		return dialAndSay(t, addr, "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	},
	"half a command": func(t *testing.T, addr string) net.Conn { return dialAndSay(t, addr, `{"action":`) },
	"half the second command": func(t *testing.T, addr string) net.Conn {
		c := dialAndSay(t, addr, `{"action":"echo","body":"a"}`+"\n")
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(c, `{"action`); err != nil {
			t.Error(err)
		}
		return c
	},
	"a command": func(t *testing.T, addr string) net.Conn { return dialAndSay(t, addr, `{"action":"wait"}`+"\n") },
	"a text": func(t *testing.T, addr string) net.Conn {
		return dialWebAndSay(t, addr, func(c *gorilla.Conn) error { return c.WriteMessage(gorilla.TextMessage, []byte(`{"action":"wait"}`)) })
	},
	"half a text": func(t *testing.T, addr string) net.Conn {
		return dialWebAndSay(t, addr, func(c *gorilla.Conn) error { _, err := c.NetConn().Write([]byte{1, 0x85, 0, 0, 0, 0, '{'}); return err })
	},
	"a silent WebSocket": func(t *testing.T, addr string) net.Conn {
		return dialWebAndSay(t, addr, func(*gorilla.Conn) error { return nil })
	},
	"a silent connection": func(t *testing.T, addr string) net.Conn { return dialAndSay(t, addr, "") },
}

func dialAndSay(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func dialWebAndSay(t *testing.T, addr string, say func(*gorilla.Conn) error) net.Conn {
	t.Helper()
	c, _, err := gorilla.DefaultDialer.DialContext(bounded(t), "ws://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(c); err != nil {
		t.Fatal(err)
	}
	return c.NetConn()
}

// entranceServer listens at a port that the test closes.
func entranceServer(t *testing.T) (*Server, string) {
	srv := quietServer(t, &ServerOpts{MaxConnsPerAddr: 100})
	srv.OnMessage("/echo", func(s string) string { return s })
	srv.OnMessage("echo", func(s string) string { return s })
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	srv.OnMessage("/wait", wait)
	srv.OnMessage("wait", wait)
	srv.OnMessage("/items", func(ctx context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			yield(1, nil)
			<-ctx.Done()
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan error, 1)
	go func() { listening <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-listening; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
	return srv, l.Addr().String()
}

// counted returns what a server has on its books.
func counted(srv *Server) int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.admission.n + srv.admission.refusing + len(srv.admission.addrs) + len(srv.entrants) + len(srv.conns) + len(srv.open) + len(srv.web.conns)
}

// However a connection ends, in whatever state, it is off the books then.
func TestEntrancesAreCountedOnce(t *testing.T) {
	for _, how := range []string{"closed", "reset", "Close", "Shutdown", "Shutdown cut short"} {
		t.Run(strings.ReplaceAll(how, " ", "-"), func(t *testing.T) {
			srv, addr := entranceServer(t)
			var conns []net.Conn
			for name, enter := range entrances {
				switch {
				case how == "closed" && name == "a command": // it may be that its sender has ended only what it sends
				case how == "Shutdown" && !slices.Contains([]string{
					"idle HTTP", "half a command", "half the second command", "half a text", "a silent WebSocket", "a silent connection",
				}, name): // Shutdown waits for what is under way
				default:
					conns = append(conns, enter(t, addr))
				}
			}
			if !eventually(func() bool { srv.mu.Lock(); defer srv.mu.Unlock(); return srv.admission.n == len(conns) }) {
				t.Fatalf("%d of %d are counted", srv.admission.n, len(conns))
			}
			time.Sleep(50 * time.Millisecond) // for handlers to have been called
			begun := time.Now()
			switch how {
			case "closed":
			case "reset":
				for _, c := range conns {
					_ = c.(*net.TCPConn).SetLinger(0)
				}
			case "Close":
				srv.Close()
			default:
				limit, want := patience, error(nil)
				if how == "Shutdown cut short" {
					limit, want = 100*time.Millisecond, context.DeadlineExceeded
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				if err := srv.Shutdown(ctx); err != want {
					t.Errorf("Shutdown returned %v after %v", err, time.Since(begun))
				}
			}
			for _, c := range conns {
				c.Close()
			}
			if !eventually(func() bool { return counted(srv) == 0 }) {
				t.Errorf("%d are left: %d conns, %d admitted, %d at the door, %d by HTTP", counted(srv), len(srv.conns), srv.admission.n, len(srv.entrants), len(srv.web.conns))
			}
		})
	}
}
