package transport

import (
	"sync"
	"time"
)

// wire is what the two ends of a Pipe share: a half for each direction, under
// one lock. Nothing waits while it holds the lock, except on the halves' conds.
type wire struct {
	mu     sync.Mutex
	broken bool // cut: bytes that had arrived may be left, nothing moves any more
	halves [2]half
}

func newWire(limit int) *wire {
	w := new(wire)
	for i := range w.halves {
		h := &w.halves[i]
		h.wire, h.back, h.limit, h.left = w, &w.halves[1-i], limit, -1
		h.readable.L, h.writable.L = &w.mu, &w.mu
	}
	return w
}

// cut ends both directions. What is in flight is lost, and with lose what has
// arrived as well.
func (w *wire) cut(lose bool) {
	w.broken = true
	for i := range w.halves {
		h := &w.halves[i]
		if lose {
			h.ready = 0
		}
		h.drop()
		h.left = -1
		h.readable.Broadcast()
		h.writable.Broadcast()
	}
}

// half is one direction of a wire: a bounded queue whose oldest bytes have
// arrived and can be read, while the rest are in flight. Bytes are in flight
// only while a fault keeps them there. The wire's lock guards all of it.
type half struct {
	wire *wire
	back *half // the other direction

	readable, writable sync.Cond

	bytes  ring
	ready  int    // bytes that have arrived
	limit  int    // most bytes the queue holds
	flight []mark // what has not arrived, oldest first

	writing   bool // a Write has begun and not ended
	ended     bool // the writer sends nothing more
	eof       bool // ... and the reader's end has learnt it
	abandoned bool // the reader has closed
	refused   bool // ... and the writer's end has learnt it

	delay       time.Duration
	partitioned bool
	chunk       int       // most bytes a read returns, 0 for no such bound
	rate        int       // bytes that arrive in a second, 0 for no such bound
	free        time.Time // when the line has carried what was sent under a rate
	left        int64     // bytes that may still arrive before the cut, -1 for no cut
	timer       *time.Timer
}

// mark is something in flight: bytes, or the news that the writer has ended or
// closed.
type mark struct {
	at     time.Time // when it arrives; zero means at once
	n      int
	ended  bool
	closed bool
}

// accept queues as much of b as fits and returns how much that was. It takes
// nothing beyond the byte at which CloseAfter cuts, if it can know it yet.
func (h *half) accept(b []byte) int {
	k := min(len(b), h.limit-h.bytes.n)
	if k == 0 {
		return 0
	}
	if h.left >= 0 && h.straight() {
		k = int(min(int64(k), h.left))
	}
	h.bytes.push(b[:k])
	h.carry(k)
	return k
}

// carry sends k bytes, in portions if there is a rate.
func (h *half) carry(k int) {
	if h.rate == 0 {
		h.send(mark{n: k})
		return
	}
	if now := time.Now(); h.free.Before(now) {
		h.free = now
	}
	for k > 0 {
		n := min(k, max(h.rate/100, 1))
		h.free = h.free.Add(time.Duration(n) * time.Second / time.Duration(h.rate))
		h.send(mark{n: n, at: h.free})
		k -= n
	}
}

// straight tells whether what is sent now arrives now.
func (h *half) straight() bool {
	return h.delay == 0 && h.rate == 0 && len(h.flight) == 0 && !h.held()
}

func (h *half) held() bool { return h.partitioned || h.abandoned }

// send puts m in flight, and on to the reader if no fault keeps it.
func (h *half) send(m mark) {
	if h.straight() {
		h.arrive(m)
		return
	}
	if h.delay > 0 {
		if m.at.IsZero() {
			m.at = time.Now()
		}
		m.at = m.at.Add(h.delay)
	}
	if i := len(h.flight) - 1; i >= 0 && h.flight[i].joins(m) {
		h.flight[i].n += m.n
	} else {
		h.flight = append(h.flight, m)
	}
	h.deliver()
}

// joins tells whether bytes sent after m can share its mark.
func (m mark) joins(next mark) bool {
	return m.at.Equal(next.at) && !m.ended && !next.ended
}

// deliver lets arrive what is due, and sets the timer for what is not.
func (h *half) deliver() {
	for len(h.flight) > 0 && !h.held() {
		m := h.flight[0]
		if !m.at.IsZero() {
			if wait := time.Until(m.at); wait > 0 {
				h.wakeIn(wait)
				return
			}
		}
		h.flight = h.flight[1:]
		h.arrive(m)
	}
}

func (h *half) wakeIn(d time.Duration) {
	if h.timer == nil {
		h.timer = time.AfterFunc(d, h.tick)
		return
	}
	h.timer.Reset(d)
}

func (h *half) tick() {
	h.wire.mu.Lock()
	defer h.wire.mu.Unlock()
	h.deliver()
}

// arrive hands m to the reader's end, and cuts the wire when CloseAfter's count
// is used up.
func (h *half) arrive(m mark) {
	cut := h.left >= 0 && int64(m.n) >= h.left
	if cut {
		m = mark{n: int(h.left)}
	}
	if h.left >= 0 {
		h.left -= int64(m.n)
	}
	h.ready += m.n
	h.eof = h.eof || m.ended
	h.readable.Broadcast()
	if m.closed {
		h.back.refused = true
		h.back.writable.Broadcast()
	}
	if cut {
		h.wire.cut(false)
	}
}

// take moves bytes that have arrived to b and returns how many.
func (h *half) take(b []byte) int {
	k := min(len(b), h.ready)
	if h.chunk > 0 {
		k = min(k, h.chunk)
	}
	if k == 0 {
		return 0
	}
	h.bytes.pop(b[:k])
	h.ready -= k
	h.writable.Broadcast()
	return k
}

// finish is the writer's last word: closed when it won't read either.
func (h *half) finish(closed bool) {
	h.ended = true
	h.writable.Broadcast()
	if h.abandoned {
		h.drop() // nobody is left to receive anything
		return
	}
	if !h.wire.broken {
		h.send(mark{ended: true, closed: closed})
	}
}

// abandon is the reader's last word: nothing will be read any more.
func (h *half) abandon() {
	h.abandoned = true
	h.ready = 0
	h.drop()
	h.readable.Broadcast()
}

// drop forgets what is in flight.
func (h *half) drop() {
	h.bytes.keep(h.ready)
	h.flight = nil
	if h.timer != nil {
		h.timer.Stop()
	}
}
