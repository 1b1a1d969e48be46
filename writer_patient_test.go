package flyrpc

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

// answerPatiently puts n responses of size bytes to open requests, all of which are encoded in the same buffer.
func (w *testWriter) answerPatiently(c *Conn, n, size int) {
	c.in.open = map[uint16]*incoming{}
	buf := make([]byte, size)
	for i := range n {
		for j := range buf {
			buf[j] = byte('a' + i)
		}
		in := &incoming{conn: c, route: new(route), strict: true, seq: uint16(i + 1), flag: FlagWait}
		c.in.open[in.seq] = in
		f := frame{flag: FlagResponse, seq: in.seq, code: fmt.Sprint("a", i), body: buf, answers: in, patient: true}
		if _, err := w.put(context.Background(), &f, false); err != nil {
			w.t.Errorf("response %d: %v", i, err)
		}
	}
	clear(buf)
}

// TestWriterKeepsResponses: responses for which there is no room wait without a goroutine each. Their requests are open until they are
// queued, which they are in their order and within the limit, and beside others that wait.
func TestWriterKeepsResponses(t *testing.T) {
	for _, size := range []int{600, largeBody + 600} {
		synctest.Test(t, func(t *testing.T) {
			const n, most = 20, 2 * (largeBody + 600)
			w, conn, gate := stuckWriter(t, most)
			w.send("fits", most-500)
			c := new(Conn)
			w.answerPatiently(c, n, size)
			var other sync.WaitGroup
			other.Go(func() { w.send("other", most-500) })
			synctest.Wait()
			if w.queued > most || len(w.waiting) != n || c.in.count() != n {
				t.Errorf("%d bytes are queued, %d responses wait, %d requests are open", w.queued, len(w.waiting), c.in.count())
			}
			close(gate)
			other.Wait()
			synctest.Wait()
			if w.waiting != nil || c.in.count() != 0 {
				t.Errorf("%d responses wait, %d requests are open", len(w.waiting), c.in.count())
			}
			next := 0
			for _, p := range conn.packets(t) {
				if p.Code != fmt.Sprint("a", next) {
					continue
				}
				if want := bytes.Repeat([]byte{byte('a' + next)}, size); !bytes.Equal(p.Payload, want) {
					t.Errorf("response %d has another body: %.20q", next, p.Payload)
				}
				next++
			}
			if next != n {
				t.Errorf("%d of %d responses were written in their order", next, n)
			}
		})
	}
}

// TestWriterHurriesResponses: when the connection is about to end, all responses that wait are queued.
func TestWriterHurriesResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, conn, gate := stuckWriter(t, 100)
		w.send("fits", 100)
		c := new(Conn)
		w.answerPatiently(c, 5, 100)
		w.hurry()
		if w.waiting != nil || c.in.count() != 0 {
			t.Errorf("%d responses wait, %d requests are open", len(w.waiting), c.in.count())
		}
		close(gate)
		synctest.Wait()
		if got := codes(conn.packets(t)); got != "stuck fits a0 a1 a2 a3 a4 " {
			t.Errorf("written: %s", got)
		}
	})
}

// TestWriterDropsResponses: when the connection has ended, nothing waits any more, nor is a request open for it.
func TestWriterDropsResponses(t *testing.T) {
	for _, size := range []int{100, largeBody} {
		synctest.Test(t, func(t *testing.T) {
			w, _, gate := stuckWriter(t, 100)
			w.send("fits", 100)
			c := new(Conn)
			w.answerPatiently(c, 5, size)
			w.close(errTorn)
			if w.waiting != nil || c.in.count() != 0 {
				t.Errorf("%d responses wait, %d requests are open", len(w.waiting), c.in.count())
			}
			close(gate)
		})
	}
}

// TestWriterKeepsLittle: a small response doesn't keep the large buffer that it was encoded in while it waits.
func TestWriterKeepsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, conn, gate := stuckWriter(t, 100)
		w.send("fits", 100)
		c := &Conn{in: inbox{open: map[uint16]*incoming{}}}
		for seq := range uint16(3) {
			in := &incoming{conn: c, route: new(route), strict: true, seq: seq, flag: FlagWait}
			c.in.open[seq] = in
			lent := append(w.bufs.lend(8<<20), "small"...)
			f := frame{flag: FlagResponse, seq: seq, code: "a", body: lent, keep: true, lent: lent, answers: in, patient: true}
			if _, err := w.put(t.Context(), &f, false); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range w.waiting {
			if cap(f.body) > 100 || f.lent != nil {
				t.Errorf("a response of %d bytes keeps %d, and %d that were lent", len(f.body), cap(f.body), cap(f.lent))
			}
		}
		close(gate)
		synctest.Wait()
		for _, p := range conn.packets(t)[2:] {
			if p.Code != "a" || string(p.Payload) != "small" {
				t.Errorf("%+v", p)
			}
		}
	})
}
