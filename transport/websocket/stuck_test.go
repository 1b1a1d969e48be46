package websocket

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestCloseAmidWrite: where the other end reads nothing and a Write waits for it, amid a message or over TLS, after which nothing can be
// sent, Close doesn't wait too.
func TestCloseAmidWrite(t *testing.T) {
	certs := httptest.NewTLSServer(nil)
	certs.Close()
	for name, below := range map[string]func(a, b net.Conn) net.Conn{
		"plain": func(_, b net.Conn) net.Conn { return b },
		"TLS": func(a, b net.Conn) net.Conn {
			s, c := transport.TLSServer(b, certs.TLS), tls.Client(a, &tls.Config{InsecureSkipVerify: true})
			shaken := inBackground(c.Handshake)
			if err := errors.Join(s.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		for _, size := range []int{1000, 100_000} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := transport.Pipe(nil)
					t.Cleanup(func() { a.Close() })
					s := over(t, below(a, b), false)
					stuck := inBackground(func() (err error) {
						for err == nil {
							_, err = s.Write(make([]byte, size))
						}
						return err
					})
					synctest.Wait()
					begun := time.Now()
					s.Close()
					if took := time.Since(begun); took > 0 {
						t.Errorf("it took %v", took)
					}
					if err := <-stuck; !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestCloseOfStuckTLS: closing tries for a second to tell an end that reads nothing, also over TLS, which has to be told too.
func TestCloseOfStuckTLS(t *testing.T) {
	certs := httptest.NewTLSServer(nil)
	certs.Close()
	synctest.Test(t, func(t *testing.T) {
		a, b := transport.Pipe(&transport.PipeOptions{Buffer: 4 << 10})
		t.Cleanup(func() { a.Close() })
		s, c := transport.TLSServer(b, certs.TLS), tls.Client(a, &tls.Config{InsecureSkipVerify: true})
		shaken := inBackground(c.Handshake)
		if err := errors.Join(s.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		for n := 1; n > 0; { // the pipe is full, and TLS doesn't know
			n, _ = b.TryWrite(make([]byte, 100))
		}
		ws := over(t, s, false)
		begun := time.Now()
		ws.Close()
		if took := time.Since(begun); took > closeWait {
			t.Errorf("it took %v", took)
		}
	})
}
