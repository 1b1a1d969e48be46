package flyrpc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// startFlush makes sure that somebody writes the queue. It is called with the lock
// held and returns without it.
func (w *writer) startFlush(busy bool) {
	if w.flushing {
		w.mu.Unlock()
		return
	}
	w.flushing = true
	w.mu.Unlock()
	if w.try == nil {
		w.workers.Go(w, nil)
		return
	}
	w.flush(busy)
}

// startWorker is startFlush that leaves the writing to a worker.
func (w *writer) startWorker() {
	flushing := w.flushing
	w.flushing = true
	w.mu.Unlock()
	if !flushing {
		w.workers.Go(w, nil)
	}
}

// flush writes without blocking until nothing is queued, and leaves to a worker
// what would block.
func (w *writer) flush(busy bool) {
	for round := range flushRounds {
		if busy && (round == 0 || w.load.Load() > 0) {
			runtime.Gosched()
		}
		more, large := w.take()
		if !more {
			return
		}
		if large {
			break
		}
		n, err := w.tryBatch()
		if err != nil {
			w.broken(err)
			return
		}
		if n > 0 {
			break
		}
	}
	w.workers.Go(w, nil)
}

// Run writes, on a worker, until nothing is queued.
func (w *writer) Run(*pool.Worker) {
	for {
		if len(w.batch) > 0 {
			if err := w.writeBatch(); err != nil {
				w.broken(err)
				return
			}
		}
		if more, _ := w.take(); !more {
			return
		}
	}
}

// take moves the queue into the batch. If there is nothing, it ends the flush and reports false.
func (w *writer) take() (more, large bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queued == 0 && len(w.waiting) > 0 { // those to whom the room was left haven't used it
		w.letIn()
	}
	if w.err != nil || w.queued == 0 && len(w.own) == 0 {
		w.flushing = false
		if w.idle != nil {
			close(w.idle)
			w.idle = nil
		}
		return false, false
	}
	w.batch = w.batch[:0]
	if len(w.own) > 0 {
		w.takeOwn()
	}
	if len(w.batch) == 0 {
		w.batch, w.queue = w.queue, w.spare[:0]
		w.spare = w.batch
	} else {
		w.batch = append(w.batch, w.queue...)
		clear(w.queue)
		w.queue = w.queue[:0]
	}
	large, w.large = w.large, false
	w.offered = w.appended
	w.queued = 0
	w.load.Store(0)
	w.letIn()
	return true, large
}

// takeOwn moves the reader's answers to the front of the batch.
func (w *writer) takeOwn() {
	for own := w.own; len(own) > 0; {
		n := len(own)
		if w.single {
			h, head, _ := parseHeader(own)
			n = head + int(h.length)
		}
		w.batch = append(w.batch, segment{b: own[:n:n], own: true})
		own = own[n:]
	}
	w.own, w.ownN = nil, 0
}

// tryBatch writes as much of the batch as goes without blocking and returns how many
// segments are left.
func (w *writer) tryBatch() (left int, err error) {
	for len(w.batch) > 0 {
		s := &w.batch[0]
		part := w.part(len(s.b))
		n, err := w.try.TryWrite(s.b[:part])
		w.count(s, n, 1)
		if err != nil {
			return len(w.batch), err
		}
		if n < len(s.b) {
			s.cut(n)
		} else {
			w.done()
		}
		if n < part {
			return len(w.batch), nil
		}
	}
	return 0, nil
}

// writeBatch writes the batch, waiting as long as the peer reads.
func (w *writer) writeBatch() error {
	defer w.conn.SetWriteDeadline(time.Time{})
	for len(w.batch) > 0 {
		w.gather()
		if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return err
		}
		vec := w.vec
		n, err := vec.WriteTo(w.conn)
		w.count(&segment{own: true}, 0, 1)
		w.advance(int(n))
		if errors.Is(err, os.ErrDeadlineExceeded) && (n > 0 || w.takesMore()) {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("flyrpc: the peer has read nothing for %v: %w", w.timeout, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takesMore reports whether the transport takes more of the batch, though it didn't say so in time: a socket
// says so only when much of its buffer is free.
func (w *writer) takesMore() bool {
	if w.try == nil {
		return false
	}
	b := w.batch[0].b
	n, err := w.try.TryWrite(b[:w.part(len(b))])
	if err != nil || n == 0 {
		return false
	}
	w.advance(n)
	return true
}

// gather puts into vec what the next write takes. A transport that isn't known to go on
// after a write that timed out, as TLS doesn't, is given so little that it can't time out while
// the peer reads.
func (w *writer) gather() {
	w.vec = w.vec[:0]
	b := w.batch[0].b
	part := w.part(len(b))
	if w.try == nil && !w.single {
		w.vec = append(w.vec, b[:min(part, maxWrite)])
		return
	}
	w.vec = append(w.vec, b[:part])
	if w.single || w.messages != nil {
		return
	}
	for _, s := range w.batch[1:] {
		w.vec = append(w.vec, s.b)
	}
}

// advance takes n written bytes off the batch.
func (w *writer) advance(n int) {
	for len(w.batch) > 0 {
		s := &w.batch[0]
		if n < len(s.b) {
			w.count(s, n, 0)
			s.cut(n)
			return
		}
		n -= len(s.b)
		w.count(s, len(s.b), 0)
		w.done()
	}
}

// count adds n bytes of s to what is written, and write calls to how many there were.
func (w *writer) count(s *segment, n, calls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes += uint64(calls)
	w.left -= n
	if !s.own {
		w.written += uint64(n)
	}
}

// done takes the first segment, which is written, off the batch.
func (w *writer) done() {
	w.bufs.put(w.batch[0].lent)
	w.batch[0] = segment{}
	w.batch = w.batch[1:]
}
