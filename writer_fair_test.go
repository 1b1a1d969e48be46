package flyrpc

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestWriterTakesTurns: what has to wait until little is queued, or almost nothing, gets its turn although there are always responses that
// wait too, and they get theirs.
func TestWriterTakesTurns(t *testing.T) {
	const size, most, writes, least = 16_000, 8 * maxBulk, 200, 8
	for name, f := range map[string]frame{
		"an item":    {code: "other", body: make([]byte, 100), bulk: true},
		"a piece":    {code: "other", body: make([]byte, maxBulk), bulk: true},
		"a request":  {flag: FlagWait, seq: 1, code: "other", body: make([]byte, most-size), keep: true},
		"a response": {flag: FlagResponse, seq: 1, code: "other", body: make([]byte, size)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, gate := stuckWriter(t, most)
				w.send("fits", most)
				c := &Conn{in: inbox{open: map[uint16]*incoming{}}}
				asked, queued := 0, atomic.Int32{}
				ask := func() { // the peer always has as many calls open
					for ; c.in.count() < 2*most/size; asked++ {
						in := &incoming{conn: c, route: new(route), strict: true, seq: uint16(asked), flag: FlagWait}
						c.in.open[in.seq] = in
						if _, err := w.put(t.Context(), &frame{flag: FlagResponse, seq: in.seq, body: make([]byte, size), answers: in, patient: true}, false); err != nil {
							t.Error(err)
						}
					}
				}
				ask()
				ctx, cancel := context.WithCancel(t.Context())
				var others sync.WaitGroup
				for range 3 {
					others.Go(func() {
						for own := f; ; own = f {
							if _, err := w.put(ctx, &own, false); err != nil {
								return
							}
							queued.Add(1)
						}
					})
				}
				for range writes {
					synctest.Wait()
					ask()
					gate <- struct{}{}
				}
				answered := asked - c.in.count()
				if n := queued.Load(); n < least || answered < least*most/size/2 {
					t.Errorf("%d others were queued in %d writes, and %d responses", n, writes, answered)
				}
				cancel()
				others.Wait()
				close(gate)
				synctest.Wait()
				if w.waiting != nil || c.in.count() != 0 || w.flushing {
					t.Errorf("%d responses are left, of %d requests; somebody writes: %v", len(w.waiting), c.in.count(), w.flushing)
				}
			})
		})
	}
}

// TestWriterTurnNotTaken: where those to whom the responses leave the room don't use it, the responses follow at once.
func TestWriterTurnNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, conn, gate := stuckWriter(t, 1000)
		w.send("fits", 1000)
		c := new(Conn)
		w.answerPatiently(c, 5, 600)
		ctx, cancel := context.WithCancel(t.Context())
		var gone sync.WaitGroup
		gone.Go(func() {
			_, err := w.put(ctx, &frame{code: "gone", body: make([]byte, 1000)}, false)
			wantErr(t, err, Canceled, NotSent)
		})
		synctest.Wait()
		cancel()
		gone.Wait()
		close(gate)
		if err := w.drain(t.Context()); err != nil {
			t.Error(err)
		}
		if got := codes(conn.packets(t)); got != "stuck fits a0 a1 a2 a3 a4 " {
			t.Errorf("written: %s", got)
		}
		if w.waiting != nil || c.in.count() != 0 {
			t.Errorf("%d responses wait, %d requests are open", len(w.waiting), c.in.count())
		}
	})
}
