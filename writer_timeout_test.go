package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestWriteTimeout checks, for a peer that doesn't read and for one that reads slowly, whether
// the connection fails.
func TestWriteTimeout(t *testing.T) {
	const timeout = 10 * time.Second
	for _, c := range []struct {
		name   string
		tries  bool
		sticky bool // the transport is of no use after a timeout
	}{{"tries", true, false}, {"blocks", false, false}, {"sticky", false, true}} {
		open := func(t *testing.T) (w *testWriter, far *transport.MemConn) {
			near, far := transport.Pipe(&transport.PipeOptions{Buffer: maxWrite / 4})
			var conn net.Conn = near
			if c.sticky {
				conn = &stickyConn{Conn: near}
			}
			w = newTestWriter(t, conn, c.tries)
			w.timeout = timeout
			t.Cleanup(func() { near.Close(); far.Close() })
			return w, far
		}
		t.Run(c.name+"/not read", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := open(t)
				begun := time.Now()
				failed := make(chan error, 1)
				w.fail = func(err error) { failed <- err }
				w.send("a", 100<<10)
				err := <-failed
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				wantText(t, err.Error(), "read nothing for 10s")
				if d := time.Since(begun); d < timeout || d > 2*timeout {
					t.Errorf("it failed after %v", d)
				}
				if _, err := w.put(context.Background(), &frame{}, false); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("what is sent later: %v", err)
				}
			})
		})
		t.Run(c.name+"/read slowly", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, far := open(t)
				for i := range 10 {
					w.send(fmt.Sprint(i), 60<<10)
				}
				w.send("large", 300<<10)
				begun := time.Now()
				var stream []byte
				b := make([]byte, 8<<10)
				for len(stream) < int(w.appended) {
					n, err := io.ReadFull(far, b[:min(len(b), int(w.appended)-len(stream))])
					if err != nil {
						t.Fatal(err)
					}
					stream = append(stream, b[:n]...)
					time.Sleep(timeout / 10)
				}
				if d := time.Since(begun); d < 5*timeout {
					t.Fatalf("it took only %v", d)
				}
				if w.fails.Load() != 0 {
					t.Errorf("it failed: %v", w.failure)
				}
				if n := len(parseStream(t, stream)); n != 11 {
					t.Errorf("%d packets came", n)
				}
			})
		})
	}
}

// stickyConn is a connection on which, as with TLS, every write fails after one that timed out.
type stickyConn struct {
	net.Conn
	broken error
}

func (c *stickyConn) Write(b []byte) (int, error) {
	if c.broken != nil {
		return 0, c.broken
	}
	n, err := c.Conn.Write(b)
	c.broken = err
	return n, err
}

// TestWriterNoDeadline checks that the deadline of a write doesn't stay.
func TestWriterNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := transport.Pipe(nil)
		defer near.Close()
		defer far.Close()
		w := newTestWriter(t, near, true)
		w.send("large", largeBody)
		synctest.Wait()
		if _, err := io.CopyN(io.Discard, far, int64(w.appended)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * w.timeout)
		w.send("later", 0)
		if _, err := io.CopyN(io.Discard, far, 5); err != nil || w.fails.Load() != 0 {
			t.Errorf("later: %v, %v", err, w.failure)
		}
	})
}
