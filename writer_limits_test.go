package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// stuckWriter returns a writer with one packet in a write that waits for gate, and nothing queued.
func stuckWriter(t *testing.T, max int) (w *testWriter, conn *sink, gate chan struct{}) {
	gate = make(chan struct{})
	conn = &sink{write: gated(gate)}
	w = newTestWriter(t, conn, false)
	w.max = max
	w.send("stuck", 0)
	synctest.Wait()
	return w, conn, gate
}

// TestWriterBackpressure fills the queue: who sends waits until there is space, or the context ends.
func TestWriterBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, conn, gate := stuckWriter(t, 1000)
		w.send("fits", 900)
		if w.full() {
			t.Error("full below the limit")
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := w.put(ctx, &frame{code: "late", body: make([]byte, 900)}, false)
		wantErr(t, err, Timeout, NotSent)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel = context.WithCancel(context.Background())
		cancel()
		_, err = w.put(ctx, &frame{code: "never", body: make([]byte, 900)}, false)
		wantErr(t, err, Canceled, NotSent)
		if w.tryPut(&frame{code: "left out", body: make([]byte, 900)}) {
			t.Error("tryPut goes over the limit")
		}
		if !w.tryPut(&frame{code: "small", body: make([]byte, 10)}) {
			t.Error("tryPut leaves out what fits")
		}
		if err := w.putNow(&frame{code: "now", body: make([]byte, 900)}); err != nil {
			t.Error(err)
		}
		if !w.full() {
			t.Error("not full over the limit")
		}
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() { w.send(fmt.Sprint("w", i), 900) })
		}
		all.Go(func() { w.send("larger than the limit", 5000) })
		synctest.Wait()
		if n := w.queued; n > 1000+1000 {
			t.Errorf("%d bytes are queued", n)
		}
		close(gate)
		all.Wait()
		synctest.Wait()
		if got := conn.packets(t); len(got) != 4+6 || codes(got[:4]) != "stuck fits small now " {
			t.Errorf("written: %s", codes(got))
		}
		if w.space != nil || w.full() {
			t.Error("somebody still waits")
		}
	})
}

// TestWriterClose checks that the end lets go of all who wait, with the reason, and refuses the rest.
func TestWriterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, conn, gate := stuckWriter(t, 100)
		w.send("dropped", 100)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := w.put(context.Background(), &frame{body: make([]byte, 100)}, false); err != errTorn {
					t.Errorf("who waited for space gets %v", err)
				}
			})
			all.Go(func() {
				if err := w.drain(context.Background()); err != nil {
					t.Errorf("who waited for the end gets %v", err)
				}
			})
		}
		synctest.Wait()
		w.close(errTorn)
		w.close(io.ErrClosedPipe) // the first reason counts
		all.Wait()
		if _, err := w.put(context.Background(), &frame{}, false); err != errTorn {
			t.Errorf("put: %v", err)
		}
		if err := w.putNow(&frame{}); err != errTorn {
			t.Errorf("putNow: %v", err)
		}
		if w.tryPut(&frame{}) {
			t.Error("tryPut takes a packet")
		}
		w.kick()
		close(gate)
		synctest.Wait()
		if got := codes(conn.packets(t)); got != "stuck " {
			t.Errorf("written: %s", got)
		}
		if n := w.fails.Load(); n != 0 {
			t.Errorf("fail was called: %v", w.failure)
		}
		if w.written != uint64(len(conn.stream)) {
			t.Errorf("%d bytes count as written of %d", w.written, len(conn.stream))
		}
	})
}

// TestWriterSent cuts the connection after every number of bytes and checks for which packets it
// is said that a byte was handed over.
func TestWriterSent(t *testing.T) {
	sizes := []int{0, 5, 300, largeBody, 3, largeBody + 1}
	const own = 2 * (3 + 3 + 1 + 1) // two answers without body, code "own"
	total := own
	for _, n := range sizes {
		total += len(appendHeader(nil, 0, 0, "code", nil, n)) + n
	}
	for k := 0; k <= total; k++ {
		if k > 400 && k%1777 != 0 && k < total-30 && k%largeBody > 400 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			gate, stuck, left := make(chan struct{}), true, k
			conn := &sink{write: func(b []byte) (int, error) {
				<-gate
				if stuck {
					stuck = false
					return len(b), nil
				}
				if len(b) > left {
					n := left
					left = 0
					return n, errTorn
				}
				left -= len(b)
				return len(b), nil
			}}
			w := newTestWriter(t, conn, false)
			before := w.send("stuck", 0)
			synctest.Wait()
			var begins []int
			var positions []uint64
			at := own
			for _, n := range sizes {
				begins = append(begins, at)
				positions = append(positions, w.send("code", n))
				at += len(appendHeader(nil, 0, 0, "code", nil, n)) + n
			}
			for range 2 {
				if err := w.putOwn(&frame{code: "own"}); err != nil {
					t.Fatal(err)
				}
			}
			close(gate)
			synctest.Wait()
			if failed := w.fails.Load() == 1; failed != (k < total) {
				t.Fatalf("%d of %d bytes: fail was called %d times", k, total, w.fails.Load())
			}
			if !w.sent(before) {
				t.Error("the packet before isn't sent")
			}
			for i, begin := range begins {
				if got, want := w.sent(positions[i]), k > begin; got != want {
					t.Fatalf("%d bytes went out, packet %d begins at %d: sent is %v", k, i, begin, got)
				}
			}
		})
	}
}

// TestWriterTrySent is TestWriterSent for a write that the sender makes itself.
func TestWriterTrySent(t *testing.T) {
	for k := range 8 {
		conn := &sink{try: func([]byte) (int, error) { return k, errTorn }}
		w := newTestWriter(t, conn, true)
		pos := w.send("code", 0)
		if got := w.sent(pos); got != (k > 0) {
			t.Errorf("%d bytes went out: sent is %v", k, got)
		}
		if w.sent(pos + uint64(k)) {
			t.Error("bytes behind those that went out are sent")
		}
		if w.fails.Load() != 1 || w.failure != errTorn {
			t.Errorf("fail was called %d times, with %v", w.fails.Load(), w.failure)
		}
	}
}

// TestWriterFailsOnce has many send over a connection that fails: fail is called once, and nobody waits.
func TestWriterFailsOnce(t *testing.T) {
	for _, tries := range []bool{true, false} {
		torn := func([]byte) (int, error) { return 0, errTorn }
		conn := &sink{try: torn, write: torn}
		w := newTestWriter(t, conn, tries)
		w.max = 100
		failed := make(chan struct{})
		fail := w.fail
		w.fail = func(err error) { fail(err); close(failed) }
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 50 {
					if _, err := w.put(context.Background(), &frame{body: make([]byte, 60)}, true); err != nil && err != errTorn {
						t.Error(err)
					}
					_ = w.putOwn(&frame{})
					w.kick()
				}
			})
		}
		all.Wait()
		within(t, failed)
		if err := w.drain(context.Background()); err != nil {
			t.Error(err)
		}
		if n := w.fails.Load(); n != 1 || len(conn.calls) != 1 {
			t.Errorf("fail was called %d times after %d writes", n, len(conn.calls))
		}
	}
}

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
