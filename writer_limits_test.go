package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
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

// TestWriterSentInFlight checks what is said while a write runs: what it holds may have gone out,
// what waits behind it has not, and the end of the connection doesn't change that.
func TestWriterSentInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		conn := &sink{write: func([]byte) (int, error) { <-gate; return 3, errTorn }}
		w := newTestWriter(t, conn, false)
		first := w.send("first", 0)
		synctest.Wait()
		second := w.send("second", 0)
		check := func(when string) {
			t.Helper()
			if !w.sent(first) || w.sent(second) {
				t.Errorf("%s: sent is %v and %v", when, w.sent(first), w.sent(second))
			}
		}
		check("while the write runs")
		w.close(io.ErrClosedPipe)
		check("when the connection is closed")
		close(gate)
		synctest.Wait()
		check("when the write has failed")
		if n := w.fails.Load(); n != 1 {
			t.Errorf("fail was called %d times", n)
		}
	})
}

// TestWriterOwnFull checks that answers beyond the limit are written first where the peer reads,
// and that the end lets go of the reader that waits for that.
func TestWriterOwnFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tries := range []bool{true, false} {
			conn := new(sink)
			w := newTestWriter(t, conn, tries)
			want := ""
			for i := range 5*maxOwn + 1 {
				if err := w.putOwn(&frame{code: fmt.Sprint(i)}); err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				want += fmt.Sprint(i, " ")
			}
			w.kick()
			synctest.Wait()
			if got := codes(conn.packets(t)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		w, _, gate := stuckWriter(t, 1000)
		for range maxOwn {
			if err := w.putOwn(&frame{}); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := w.putOwn(&frame{}); err != errOwnFull || time.Since(begun) != ownWait {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ended := make(chan error, 1)
		go func() { ended <- w.putOwn(&frame{}) }()
		synctest.Wait()
		w.close(errTorn)
		if err := <-ended; err != nil || len(w.own) != 0 {
			t.Errorf("after the end: %v, %d bytes are queued", err, len(w.own))
		}
		close(gate)
	})
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
