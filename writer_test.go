package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// TestWriterGathers has many goroutines send while one write is stuck. What they send must go in
// one write behind it.
func TestWriterGathers(t *testing.T) {
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			conn := &sink{try: nothing, write: gated(gate)}
			w := newTestWriter(t, conn, tries)
			const senders, each = 50, 20
			w.send("0/0/0", 0)
			synctest.Wait()
			var all sync.WaitGroup
			for k := range senders {
				first := 0
				if k == 0 {
					first = 1
				}
				all.Go(func() {
					for i := first; i < each; i++ {
						f := frame{code: fmt.Sprintf("%d/%d/%d", k, i, 100), body: numbered(k, i, 100)}
						if _, err := w.put(context.Background(), &f, i%2 == 0); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait() // nobody is stuck in a write
			close(gate)
			synctest.Wait()
			checkNumbered(t, conn.packets(t), senders, each)
			bytes := len(conn.stream)
			if most := uint64(3); tries && w.writes > most {
				t.Errorf("%d writes, want %d at most", w.writes, most)
			}
			if most := 3 + bytes/(bufferSize-200); len(conn.calls) > most {
				t.Errorf("%d calls for %d bytes, want %d at most", len(conn.calls), bytes, most)
			}
		})
	}
}

// TestWriterAlone checks that a packet that stands alone is written by whoever sent it, at once.
func TestWriterAlone(t *testing.T) {
	conn := new(sink)
	w := newTestWriter(t, conn, true)
	for i := range 5 {
		w.send(fmt.Sprint(i), 10)
		if conn.tries != i+1 || len(conn.packets(t)) != i+1 {
			t.Fatalf("%d tries for %d packets", conn.tries, i+1)
		}
	}
	if w.writes != 5 || w.written != uint64(len(conn.stream)) || w.appended != w.written {
		t.Errorf("%d writes, %d bytes written of %d", w.writes, w.written, w.appended)
	}
}

// TestWriterSchedules sends packets of all sizes from many goroutines over a connection that takes
// what it likes, and checks that none is lost, repeated, torn or out of order.
func TestWriterSchedules(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testSchedule(t, seed) })
	}
}

func testSchedule(t *testing.T, seed uint64) {
	// What the connection does is decided by one writer at a time, so it needs no lock.
	r := rand.New(rand.NewPCG(seed, 1))
	conn := &sink{
		try: func(b []byte) (int, error) {
			if r.IntN(3) == 0 {
				return r.IntN(len(b)), nil
			}
			return len(b), nil
		},
		write: func(b []byte) (int, error) {
			if r.IntN(3) == 0 && len(b) > 1 { // a slow peer: the deadline passed, something was read
				return 1 + r.IntN(len(b)-1), os.ErrDeadlineExceeded
			}
			return len(b), nil
		},
	}
	w := newTestWriter(t, conn, seed%3 != 0)
	w.max = 100 << 10
	if seed%4 == 3 {
		w.setSingle()
	}
	const senders, each = 8, 60
	var all sync.WaitGroup
	for k := range senders {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(k)+2))
			for i := range each {
				n := 8 + r.IntN(200)
				if r.IntN(10) == 0 {
					n = largeBody - 100 + r.IntN(2*bufferSize)
				}
				f := frame{code: fmt.Sprintf("%d/%d/%d", k, i, n), body: numbered(k, i, n), keep: r.IntN(2) == 0}
				if r.IntN(2) == 0 {
					f.meta = []byte{5, 0}
				}
				if err := w.sendOneWay(&f, r.IntN(4)); err != nil {
					t.Error(err)
				}
				if !f.keep {
					clear(f.body) // it was copied
				}
			}
		})
	}
	const owned = 50
	all.Go(func() {
		for i := 0; i < owned; i++ {
			f := frame{code: fmt.Sprintf("%d/%d/%d", senders, i, 20), body: numbered(senders, i, 20)}
			if w.putOwn(&f) == errOwnFull {
				i--
			}
			if i%3 == 0 {
				w.kick()
			}
		}
	})
	all.Wait()
	w.kick()
	if err := w.drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	list := conn.packets(t)
	var packets, own []Packet
	for _, p := range list {
		var k int
		if fmt.Sscanf(p.Code, "%d/", &k); k == senders {
			p.Code = "0" + p.Code[1:]
			own = append(own, p)
		} else {
			packets = append(packets, p)
		}
	}
	checkNumbered(t, packets, senders, each)
	if len(own) != owned {
		t.Errorf("%d answers of the connection itself came, want %d", len(own), owned)
	}
	if n := w.fails.Load(); n != 0 {
		t.Errorf("fail was called: %v", w.failure)
	}
	if w.written != w.appended || w.queued != 0 || w.flushing {
		t.Errorf("at the end %d of %d bytes are written, %d queued, flushing %v", w.written, w.appended, w.queued, w.flushing)
	}
}

// sendOneWay queues f in one of the ways there are.
func (w *testWriter) sendOneWay(f *frame, way int) error {
	switch way {
	case 0:
		return w.putNow(f)
	case 1:
		if w.tryPut(f) {
			return nil
		}
	}
	_, err := w.put(context.Background(), f, way == 2)
	return err
}

// TestWriterLarge checks that a large body that may be kept reaches the connection as it is,
// and that another one is copied.
func TestWriterLarge(t *testing.T) {
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			for _, c := range []struct {
				n    int
				keep bool
				same bool
			}{{largeBody, true, true}, {largeBody, false, false}, {largeBody - 1, true, false}} {
				conn := new(sink)
				w := newTestWriter(t, conn, tries)
				body := pattern(c.n, 1)
				if _, err := w.put(context.Background(), &frame{code: "x", meta: []byte{5, 0}, body: body, keep: c.keep}, false); err != nil {
					t.Fatal(err)
				}
				if !c.same {
					clear(body)
				}
				synctest.Wait()
				same := false
				for _, call := range conn.calls {
					same = same || &call[0] == &body[0] && len(call) == len(body)
				}
				if same != c.same {
					t.Errorf("%d bytes, keep %v: the same memory: %v", c.n, c.keep, same)
				}
				if p := conn.packets(t)[0]; string(p.Payload) != string(pattern(c.n, 1)) || string(p.Meta) != "\x05\x00" {
					t.Errorf("%d bytes, keep %v: the packet has changed", c.n, c.keep)
				}
			}
		})
	}
}

// TestWriterOwn checks that the reader's answers go before packets that wait longer, and how many may wait.
func TestWriterOwn(t *testing.T) {
	for _, single := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			conn := &sink{write: gated(gate)}
			w := newTestWriter(t, conn, false)
			if single {
				w.setSingle()
			}
			w.send("stuck", 0)
			synctest.Wait()
			w.send("waits", 0)
			want := "stuck "
			for i := range maxOwn {
				if err := w.putOwn(&frame{code: fmt.Sprint(i), meta: []byte{6, 0}, body: []byte("b")}); err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				want += fmt.Sprint(i, " ")
			}
			if err := w.putOwn(&frame{code: "one more"}); err != errOwnFull {
				t.Errorf("answer %d: %v", maxOwn, err)
			}
			w.kick()
			close(gate)
			synctest.Wait()
			if got := codes(conn.packets(t)); got != want+"waits " {
				t.Errorf("got  %s\nwant %s", got, want+"waits ")
			}
			if err := w.putOwn(&frame{code: "again"}); err != nil {
				t.Errorf("when all is written: %v", err)
			}
			if n := len(conn.packets(t)); n != maxOwn+2 {
				t.Errorf("an answer was written without kick")
			}
			w.kick()
			synctest.Wait()
			if n := len(conn.packets(t)); n != maxOwn+3 {
				t.Errorf("%d packets, want %d", n, maxOwn+3)
			}
			if single && len(conn.calls) != maxOwn+3 {
				t.Errorf("%d writes for %d packets", len(conn.calls), maxOwn+3)
			}
			if w.written != w.appended {
				t.Errorf("%d bytes written of %d: answers don't count", w.written, w.appended)
			}
			w.close(errTorn)
			if err := w.putOwn(&frame{}); err != nil {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// TestWriterSingle checks that each packet is one write, however many wait.
func TestWriterSingle(t *testing.T) {
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			conn := &sink{write: gated(gate), try: nothing}
			w := newTestWriter(t, conn, tries)
			w.max = 4 << 20
			w.setSingle()
			for i := range 20 {
				w.send(fmt.Sprint(i), i*10_000) // some are large
			}
			close(gate)
			synctest.Wait()
			if len(conn.calls) != 20 || w.writes != 20 {
				t.Errorf("%d writes, %d system calls for 20 packets", len(conn.calls), w.writes)
			}
			for i, call := range conn.calls {
				if p, n, err := ParsePacket(call, 1<<20); err != nil || n != len(call) || p.Code != fmt.Sprint(i) {
					t.Errorf("write %d is no packet: %d of %d bytes, %v", i, n, len(call), err)
				}
			}
		})
	}
}

// TestWriterHandsOver checks that a goroutine that only wanted to send doesn't go on
// writing for others for ever.
func TestWriterHandsOver(t *testing.T) {
	conn := new(sink)
	w := newTestWriter(t, conn, true)
	const total = 5 * flushRounds
	sent := 1
	more := func(b []byte) (int, error) {
		if sent < total {
			sent++
			w.send("more", 0) // somebody else sends while this is being written
		}
		return len(b), nil
	}
	conn.try, conn.write = more, more
	w.send("first", 0)
	if conn.tries > flushRounds {
		t.Errorf("%d writes by the one who sent a packet, want %d at most", conn.tries, flushRounds)
	}
	if err := w.drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := len(conn.packets(t)); n != total {
		t.Errorf("%d packets, want %d", n, total)
	}
}

// TestWriterMemory checks that sending small packets takes no memory for each.
func TestWriterMemory(t *testing.T) {
	conn := &discard{}
	w := newTestWriter(t, conn, false)
	w.try = conn
	f := frame{flag: FlagWait, seq: 7, code: "/user/get", meta: []byte{5, 0}, body: make([]byte, 100)}
	ctx := context.Background()
	if n := memorytest.AllocsPerRun(2000, func() { w.put(ctx, &f, false) }); n > 0.5 {
		t.Errorf("%v allocations a packet", n)
	}
}

// discard is a connection that takes everything.
type discard struct{ sink }

func (*discard) TryWrite(b []byte) (int, error) { return len(b), nil }

// TestWriterDrain waits for the end of writing.
func TestWriterDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		conn := &sink{write: gated(gate)}
		w := newTestWriter(t, conn, false)
		if err := w.drain(context.Background()); err != nil {
			t.Errorf("with nothing queued: %v", err)
		}
		w.send("a", 0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a write is stuck: %v", err)
		}
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := w.drain(context.Background()); err != nil || len(conn.packets(t)) != 2 {
					t.Errorf("%d packets are written when drain returns, error %v", len(conn.packets(t)), err)
				}
			})
		}
		w.send("b", 0)
		synctest.Wait()
		close(gate)
		all.Wait()
		// What was left for kick is drained too.
		if err := w.putOwn(&frame{code: "own"}); err != nil {
			t.Fatal(err)
		}
		if err := w.drain(context.Background()); err != nil || len(conn.packets(t)) != 3 {
			t.Errorf("an answer of the reader: %d packets, %v", len(conn.packets(t)), err)
		}
		w.close(errTorn)
		if err := w.drain(context.Background()); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
}

var _ pool.Task = (*writer)(nil)
