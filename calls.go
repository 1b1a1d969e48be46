package flyrpc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// slotBits is the part of a sequence that names the slot; the rest is the
	// slot's generation.
	slotBits = 15
	// maxOpenCalls is the most calls open in one direction. The slots above it belong to
	// pings, which take none of the calls; the first and the last number name no slot, since
	// sequence 0 is for messages and the last one for hello.
	maxOpenCalls = 1<<slotBits - 2 - maxPings
	// maxPings is the most pings in flight on a connection.
	maxPings = 64
	// helloSequence is the sequence of hello. No slot has it.
	helloSequence uint16 = 0xFFFF
	// maxKeptBody is the largest buffer, in bytes, a slot keeps between calls.
	maxKeptBody = 4 << 10
	// lostAfter is how long an answer may be awaited that nobody wants any more before
	// its call counts as lost.
	lostAfter = 30 * time.Second
)

// callTable holds the calls that this side has open on a connection.
type callTable struct {
	mu        sync.Mutex
	slots     []*slot
	free      *slot   // used last is first
	retired   []*slot // version 1: given up without an answer; used when all else is taken
	waiting   []*waiter
	limit     int // calls the peer accepts
	used      int // slots that hold a call
	wanted    int // answers that somebody waits for
	pings     int // in flight
	abandoned int
	rtt       atomic.Int64 // nanoseconds that the last ping took
	retire    bool         // version 1: a call given up frees its slot
	refuse    error        // no new calls
	closed    bool
	rest      time.Duration   // over datagrams: for how long a slot's number isn't used after a call
	resting   []restingNumber // such numbers, the first to be free first
	givenUp   []restingNumber // those of calls that may still run; used when all else is taken
	rested    *time.Timer     // until a number is free that somebody waits for; nil if nobody does
	lost      *time.Timer
	onLost    func() // too many answers don't come
	onFree    func() // a call has ended
}

// waiter is a call that waits for a slot.
type waiter struct{ got chan *slot }

// begin sets what the handshake has agreed on.
func (t *callTable) begin(limit int, v1 bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = max(1, min(limit, maxOpenCalls))
	t.retire = v1
}

// acquire returns a free slot with a fresh sequence, and whether other calls are open. When
// the peer takes no more calls it waits until ctx ends, or for HandlerWait if ctx comes
// from a handler. The error is the table's refusal or what ended the waiting.
func (t *callTable) acquire(ctx context.Context) (s *slot, busy bool, err error) {
	t.mu.Lock()
	if t.refuse != nil {
		defer t.mu.Unlock()
		return nil, false, t.refuse
	}
	if t.used < t.limit && t.numbered() {
		s = t.open()
		busy = t.used > 1
		t.mu.Unlock()
		return s, busy, nil
	}
	limit := t.limit
	w := &waiter{got: make(chan *slot, 1)}
	t.waiting = append(t.waiting, w)
	if t.rest > 0 {
		t.awaitRested()
	}
	t.mu.Unlock()
	s, err = await(ctx, w.got, "one of %d calls that the other end takes", limit)
	if err == nil {
		s, err = t.granted(s)
		return s, true, err
	}
	if s := t.leave(w); s != nil {
		t.withdraw(s)
	}
	return nil, false, err
}

// await waits for got until ctx ends, or for HandlerWait if ctx comes from a handler. Then
// the error is an Error that was not sent, with Busy if it was HandlerWait.
func await[T any](ctx context.Context, got <-chan T, format string, args ...any) (v T, err error) {
	var expired <-chan time.Time
	if h, ok := ctx.Value(handlerKey).(*Context); ok {
		wait := h.in.conn.ep.limits.handlerWait
		timer := time.NewTimer(wait)
		defer timer.Stop()
		expired = timer.C
		args = append(args, wait)
	}
	select {
	case v = <-got:
		return v, nil
	case <-ctx.Done():
		return v, ctxErr(ctx, NotSent, "waiting for "+fmt.Sprintf(format, args...))
	case <-expired:
		return v, localErr(Busy, NotSent, nil, "a handler waited for "+format+" longer than HandlerWait (%v)", args...)
	}
}

// granted turns a missing slot into the table's refusal.
func (t *callTable) granted(s *slot) (*slot, error) {
	if s != nil {
		return s, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return nil, t.refuse
}

// leave takes w off the waiting list, or returns what it was given meanwhile.
func (t *callTable) leave(w *waiter) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, o := range t.waiting {
		if o == w {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			return nil
		}
	}
	return <-w.got
}

// acquirePing returns a slot beyond the agreed number of calls.
func (t *callTable) acquirePing() (*slot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, t.refuse
	}
	if t.pings == maxPings || !t.numbered() {
		return nil, localErr(Busy, NotSent, nil, "%d pings are in flight", maxPings)
	}
	return t.openPing(), nil
}

// openPing is open for what is none of the agreed calls.
func (t *callTable) openPing() *slot {
	s := t.open()
	t.used--
	t.pings++
	s.isPing = true
	return s
}

// open takes a slot off the free list, or makes one, and gives it its next sequence.
// It is called with the lock held.
func (t *callTable) open() *slot {
	s := t.free
	switch {
	case t.rest > 0:
		s = t.openRested()
	case s != nil:
		t.free = s.next
		s.next = nil
	case len(t.slots) < maxOpenCalls+maxPings:
		t.slots = append(t.slots, &slot{seq: uint16(len(t.slots) + 1), ready: make(chan struct{}, 1)})
		s = t.slots[len(t.slots)-1]
	default:
		s = t.retired[0]
		t.retired = t.retired[1:]
	}
	s.seq ^= 1 << slotBits
	s.state = slotOpen
	t.used++
	t.wanted++
	return s
}

// lookup returns the slot of a sequence that is open, or nil. It is called with the
// lock held.
func (t *callTable) lookup(seq uint16) *slot {
	i := int(seq&^(1<<slotBits)) - 1
	if i < 0 || i >= len(t.slots) {
		return nil
	}
	if s := t.slots[i]; s != nil && s.seq == seq {
		return s
	}
	return nil
}

// claim makes the call of a response answered and returns its slot, for the reader
// to fill in and deliver. It returns nil if nobody waits for the response. others tells that
// somebody waits for another one.
func (t *callTable) claim(seq uint16) (s *slot, others bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s = t.lookup(seq)
	if s == nil || s.state == slotFree || s.state == slotAnswered {
		return nil, t.wanted > 0
	}
	if s.stream != nil {
		s.stream.close()
	}
	if s.state == slotAbandoned {
		s.late = s.held
		t.dropAnswer(s)
		t.onFree()
		return nil, t.wanted > 0
	}
	s.state = slotAnswered
	t.wanted--
	return s, t.wanted > 0
}

// withdraw frees the slot of a call that was never sent.
func (t *callTable) withdraw(s *slot) {
	t.mu.Lock()
	answered := s.state == slotAnswered
	if !answered {
		t.wanted--
		s.state = slotAnswered // nobody else answers it now
	}
	t.mu.Unlock()
	if answered { // by the connection that is closing, or by a peer that guesses
		<-s.answeredBy()
	}
	t.release(s)
}

// release frees the slot of a call whose caller has its answer.
func (t *callTable) release(s *slot) {
	s.trim()
	t.mu.Lock()
	t.put(s)
	t.mu.Unlock()
	t.onFree()
}

// put makes s free and hands it on to whoever waits longest. It is called with the
// lock held.
func (t *callTable) put(s *slot) {
	t.account(s)
	if t.rest > 0 {
		t.retireNumber(s)
	}
	s.next = t.free
	t.free = s
	t.grant()
}

// account takes the call in s off the books.
func (t *callTable) account(s *slot) {
	s.state = slotFree
	if s.isPing {
		s.isPing = false
		t.pings--
		return
	}
	t.used--
}

// grant gives free slots to those who wait.
func (t *callTable) grant() {
	for len(t.waiting) > 0 && t.used < t.limit && !t.closed && t.numbered() {
		w := t.waiting[0]
		t.waiting[0] = nil
		t.waiting = t.waiting[1:]
		w.got <- t.open()
	}
	if t.rest > 0 {
		t.awaitRested()
	}
}

// stop refuses new calls with err. Those that are open go on.
func (t *callTable) stop(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuse == nil {
		t.refuse = err
	}
	for _, w := range t.waiting {
		w.got <- nil
	}
	t.waiting = nil
}

// close refuses new calls and ends all that are open with cause.
func (t *callTable) close(refusal error, cause error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.closed = true
	t.refuse = refusal
	for _, timer := range []*time.Timer{t.lost, t.rested} {
		if timer != nil {
			timer.Stop()
		}
	}
	for _, w := range t.waiting {
		w.got <- nil
	}
	t.waiting = nil
	var ended []*slot
	for _, s := range t.slots {
		if s != nil && s.state == slotOpen {
			s.state = slotAnswered
			t.wanted--
			if s.stream != nil {
				s.stream.close()
			}
			ended = append(ended, s)
		}
	}
	t.mu.Unlock()
	for _, s := range ended {
		s.answer = answer{err: cause}
		s.deliver()
	}
}

// trim lets go of the buffers of slots that are free.
func (t *callTable) trim() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := t.free; s != nil; s = s.next {
		s.enc, s.buf, s.meta = encBuf{}, nil, nil
	}
}
