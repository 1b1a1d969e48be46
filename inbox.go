package flyrpc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// inbox holds the requests and messages of the other end that are being handled or
// wait to be.
type inbox struct {
	mu        sync.Mutex
	open      map[uint16]*incoming   // version 2 requests by sequence
	early     map[*incoming]struct{} // requests whose handlers have replied and not returned
	loose     *incoming              // messages, and all of a version 1 peer
	nLoose    int
	answering atomic.Int32 // requests that have left open and whose answers are not queued yet
	held      []*incoming  // wait for OnConnect, or for room
	heldLen   int          // bytes in held
	gated     bool         // OnConnect has not returned
	limit     int
	window    flow.Window           // what version 2 peers may send as one-way messages
	halves    int                   // requests and messages that are half received
	added     uint64                // how many have come
	stuck     atomic.Bool           // the reader waits for room
	room      chan struct{}         // capacity 1: there may be room; nil before the reader first waits
	canWait   func() bool           // whether the reader may wait: no answer is awaited
	closed    error                 // the cause with which everything was cancelled
	ordered   map[int]*orderedQueue // by the index of their route
}

// charge charges a one-way message that took cost.
func (b *inbox) charge(cost int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.added++
	if err := b.window.Take(cost); err != nil {
		return fmt.Errorf("one-way messages: %w", err)
	}
	return nil
}

// giveBack returns what a one-way message took, and what the other end is to be granted now.
func (b *inbox) giveBack(cost int) (grant int) {
	if cost == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.Return(cost)
	return b.window.Grant()
}

// admitsHalf reports whether a sequence isn't open and there is room for one call more than those that are
// open or, as n are, half received.
func (b *inbox) admitsHalf(seq uint16, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, dup := b.open[seq]
	return !dup && len(b.open)+n < b.limit
}

// verdict is what becomes of a packet that asks to be handled.
type verdict uint8

const (
	admitRun      verdict = iota // handle it now
	admitHeld                    // it is kept until there is room
	admitWait                    // there is no room: the reader has to wait
	admitRefuse                  // there is no room, and waiting could lock up
	admitConflict                // its sequence is open, or it is one call too many
)

// add takes in a packet.
func (b *inbox) add(in *incoming) verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return admitRefuse
	}
	b.added++
	if in.strict {
		if _, dup := b.open[in.seq]; dup || len(b.open)+b.halves >= b.limit {
			return admitConflict
		}
		if len(b.open)+len(b.early) >= 2*b.limit || b.gated && b.heavy(in) {
			return admitRefuse
		}
		if b.open == nil {
			b.open = make(map[uint16]*incoming)
		}
		b.open[in.seq] = in
		if b.gated || in.route.opts.ordered() && b.holds(in.route) {
			b.hold(in)
			return admitHeld
		}
		return admitRun
	}
	full := b.nLoose >= b.limit
	if in.cost > 0 && (full || b.gated) { // credit bounds how many there are
		b.hold(in)
		return admitHeld
	}
	canWait := (full || b.gated) && b.canWait()
	if !b.gated && !full {
		b.link(in)
		return admitRun
	}
	if full && !b.gated && canWait {
		b.stick()
		return admitWait
	}
	if len(b.held) >= 2*b.limit || b.heavy(in) {
		if canWait {
			b.stick()
			return admitWait
		}
		return admitRefuse
	}
	b.hold(in)
	return admitHeld
}

// maxHeld is the most bytes in packets that wait for OnConnect or for room, unless it is one alone.
const maxHeld = 1 << 20

// heavy reports whether in is too much beside what is held already.
func (b *inbox) heavy(in *incoming) bool {
	return len(b.held) > 0 && b.heldLen+in.size() > maxHeld
}

// hold keeps in, with a payload of its own, until there is room.
func (b *inbox) hold(in *incoming) {
	if in.shared {
		in.payload = append([]byte(nil), in.payload...)
		in.shared = false
	}
	b.held = append(b.held, in)
	b.heldLen += in.size()
}

// holds reports whether packets of a route are held. It is called with the lock held.
func (b *inbox) holds(rt *route) bool {
	for _, in := range b.held {
		if in.route.index == rt.index {
			return true
		}
	}
	return false
}

// join adds what runs without a packet, OnConnect, to what is being handled.
func (b *inbox) join(in *incoming) {
	b.mu.Lock()
	cause := b.closed
	if cause == nil {
		b.link(in)
	}
	b.mu.Unlock()
	if cause != nil {
		in.cancel(context.Canceled)
	}
}

// link adds in to the list of loose packets that are being handled.
func (b *inbox) link(in *incoming) {
	in.loose = true
	b.nLoose++
	in.next = b.loose
	if b.loose != nil {
		b.loose.prev = in
	}
	b.loose = in
}

// remove takes a request off the open calls, just before its response is queued, and
// reports whether others are open.
func (b *inbox) remove(in *incoming) (busy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if in.strict && b.open[in.seq] == in {
		delete(b.open, in.seq)
		if in.early && !in.gone {
			b.goesOn(in)
		}
	}
	return len(b.open) > 0
}

// goesOn keeps a request whose handler has replied and not returned. It is called with
// the lock held.
func (b *inbox) goesOn(in *incoming) {
	if b.early == nil {
		b.early = make(map[*incoming]struct{})
	}
	b.early[in] = struct{}{}
}

// repliesEarly says that the handler of in replies before it returns.
func (b *inbox) repliesEarly(in *incoming) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in.early = true
}

// finish takes a packet whose handler has ended off the books and returns what can be
// handled now.
func (b *inbox) finish(in *incoming) []*incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	if in.strict {
		in.gone = true
		if b.open[in.seq] == in && !in.parted.Load() { // else its credit still comes
			delete(b.open, in.seq)
		}
		delete(b.early, in)
		return nil
	}
	if !in.loose {
		return nil
	}
	in.loose = false
	b.nLoose--
	if in.prev != nil {
		in.prev.next = in.next
	} else {
		b.loose = in.next
	}
	if in.next != nil {
		in.next.prev = in.prev
	}
	in.prev, in.next = nil, nil
	next := b.unhold()
	b.wake()
	return next
}

// unhold takes what can be handled off the held packets, in their order. It puts those of
// ordered routes into their queues, before any later one can come, and returns the
// others. It is called with the lock held.
func (b *inbox) unhold() (run []*incoming) {
	for !b.gated && len(b.held) > 0 {
		in := b.held[0]
		if !in.strict && b.nLoose >= b.limit {
			break
		}
		b.held[0] = nil
		b.held = b.held[1:]
		run = b.letIn(in, run)
	}
	return run
}

// letIn has a packet that was held handled: by its queue, or else by who calls unhold.
func (b *inbox) letIn(in *incoming, run []*incoming) []*incoming {
	b.heldLen -= in.size()
	if !in.strict {
		b.link(in)
	}
	if in.route.opts.ordered() {
		b.queueUp(in)
		return run
	}
	return append(run, in)
}

// stick says that the reader is about to wait for room. It is called with the lock held.
func (b *inbox) stick() {
	if b.room == nil {
		b.room = make(chan struct{}, 1)
	}
	b.stuck.Store(true)
}

// wake lets a reader that waits for room look again.
func (b *inbox) wake() {
	if !b.stuck.CompareAndSwap(true, false) {
		return
	}
	select {
	case b.room <- struct{}{}:
	default:
	}
}

// nudge is wake for those who don't hold the lock.
func (b *inbox) nudge() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake()
}

// ungate lets packets be handled and returns those that were held and can be now.
// Requests don't wait for room, so messages that do aren't in their way.
func (b *inbox) ungate() (run []*incoming) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gated = false
	wait := b.held[:0]
	for _, in := range b.held {
		if in.strict && !in.route.opts.ordered() {
			run = b.letIn(in, run)
			continue
		}
		wait = append(wait, in)
	}
	clear(b.held[len(wait):])
	b.held = wait
	run = append(run, b.unhold()...)
	b.wake()
	return run
}

// find returns the open request with a sequence, or nil.
func (b *inbox) find(seq uint16) *incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open[seq]
}

// takeHeld removes and returns all requests and messages that are held.
func (b *inbox) takeHeld() []*incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.held, b.heldLen = nil, 0
	return held
}

// close cancels everything with cause and refuses what still comes.
func (b *inbox) close(cause error) {
	for _, in := range b.shut(cause) {
		in.cancel(context.Canceled)
	}
}

// shut closes the inbox and returns all that was being handled or waited.
func (b *inbox) shut(cause error) []*incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil
	}
	b.closed = cause
	all := b.all()
	kept := b.held[:0]
	b.heldLen = 0
	for _, in := range b.held {
		switch {
		case in.strict:
			delete(b.open, in.seq)
		case in.flag&FlagWait == 0 && !b.gated: // a message that has come is not lost
			kept = append(kept, in)
			all = append(all, in)
			b.heldLen += in.size()
		}
	}
	clear(b.held[len(kept):])
	b.held = kept
	b.wake()
	return all
}

// all returns everything that is being handled. It is called with the lock held.
func (b *inbox) all() []*incoming {
	all := make([]*incoming, 0, len(b.open)+len(b.early)+b.nLoose)
	for _, in := range b.open {
		all = append(all, in)
	}
	for in := range b.early {
		all = append(all, in)
	}
	for in := b.loose; in != nil; in = in.next {
		all = append(all, in)
	}
	return all
}

// count returns how many packets are being handled or wait.
func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.open) + len(b.early) + b.nLoose + int(b.answering.Load())
	for _, in := range b.held {
		if !in.strict {
			n++
		}
	}
	return n
}
