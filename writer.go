package flyrpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
	"github.com/go-flyrpc/flyrpc/transport"
)

const (
	// largeBody is the size in bytes from which a payload is not gathered with
	// others but written, and read, by itself.
	largeBody = 16 << 10
	// maxOwn is the most answers of the reader itself that wait to be written.
	maxOwn = 64
	// maxBulk is how many bytes are queued at most before items and pieces wait.
	maxBulk = 64 << 10
	// ownWait is how long the reader waits for its answers to leave that queue.
	ownWait = time.Second
	// maxWrite is the most bytes of one write to a transport that may always block.
	maxWrite = 64 << 10
	// flushRounds is how often a goroutine that only wanted to send its packet looks for
	// more to write before it leaves the rest to a worker.
	flushRounds = 16
)

// errOwnFull closes a connection whose peer makes the reader answer and doesn't
// read the answers.
var errOwnFull = fmt.Errorf("flyrpc: the peer doesn't read: %d answers of the connection itself wait", maxOwn)

// writer is the write side of a connection. Whoever has a packet appends it under a
// short lock; whoever finds nobody writing writes all that is there by then. So packets
// that are ready together go in one system call and one that stands alone
// doesn't wait.
//
// Where the transport can be written to without blocking, the goroutine that
// appended does it; what would block, and everything on other transports, is left
// to a worker. So no caller, handler or reader is ever stuck in a write.
type writer struct {
	conn     net.Conn
	try      transport.TryWriter // nil if the transport always may block
	messages messageConn         // the transport, if packets travel in messages there; else nil
	workers  *pool.Pool
	bufs     *buffers
	timeout  time.Duration // for a write that makes no progress
	max      int           // bytes queued before a packet has to wait
	fail     func(error)   // called once, without the lock, when a write fails

	mu       sync.Mutex
	own      []byte // the reader's answers; they go first
	ownN     int
	queue    []segment
	spare    []segment    // the last queue's memory
	waiting  []frame      // answers for which the queue has no room yet
	stepped  bool         // they have left the room to others, last time
	queued   int          // bytes in queue
	load     atomic.Int64 // queued, for those who don't hold the lock
	large    bool         // queue has a segment that is not pooled
	rush     bool         // nothing has to wait any more
	single   bool         // each packet is written by itself (version 1, datagrams)
	packets  bool         // single, over datagrams: no write waits
	flushing bool
	space    chan struct{} // closed when the queue was taken; nil if nobody waits
	idle     chan struct{} // closed when all is written; nil if nobody waits
	err      error
	taught   taught
	bye      error  // refuses requests: the other end has said bye
	appended uint64 // bytes of packets queued so far
	aside    uint64 // those of them that belong to no call or message: pings, and what ends calls
	writes   uint64 // write calls so far
	written  uint64 // bytes of packets that the transport has taken so far
	offered  uint64 // bytes of packets that it may have taken

	batch []segment // being written, by whoever flushes
	left  int       // bytes of it that belong to the message that was started, or less than 1
	vec   net.Buffers
}

// put queues f and sees to it that it is written. It waits while too much is queued,
// until ctx ends. busy tells that
// other packets are likely to follow at once, which is worth a yield before writing. The
// position it returns tells, with sent, whether any byte has been written.
func (w *writer) put(ctx context.Context, f *frame, busy bool) (pos uint64, err error) {
	answered := f.answers != nil && w.roomy(len(f.body))
	if answered { // where nothing has to be waited for, not under the lock
		f.answers.conn.in.answering.Add(1)
		busy = f.answers.conn.in.remove(f.answers)
		defer f.answers.conn.answered()
	}
	w.mu.Lock()
	if !answered && w.over(f) {
		if f.patient {
			w.keepWaiting(f)
			w.mu.Unlock()
			return 0, nil
		}
		err = w.waitSpace(ctx, f)
	}
	switch {
	case w.err != nil:
		err = w.err
	case err == nil && f.of != nil && f.of.out.ended() != nil:
		err = f.of.out.ended()
	case err == nil && f.flag&(FlagWait|FlagResponse) == FlagWait:
		err = w.bye
	}
	if f.answers != nil && !answered {
		busy = f.answers.conn.in.remove(f.answers)
	}
	if err != nil {
		w.mu.Unlock()
		return 0, err
	}
	pos = w.appended
	w.append(f)
	if f.lazy {
		w.startWorker()
	} else {
		w.startFlush(busy)
	}
	return pos, nil
}

// putNow queues a small f, of which there can't be many, whatever is queued already.
func (w *writer) putNow(f *frame) error {
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	before := w.appended
	w.append(f)
	w.aside += w.appended - before
	w.startFlush(false)
	return nil
}

// tryPut is put for those who would rather leave the packet out than wait. It
// reports whether the packet was queued.
func (w *writer) tryPut(f *frame) bool {
	w.mu.Lock()
	if w.err != nil || w.over(f) {
		w.mu.Unlock()
		return false
	}
	w.append(f)
	w.startFlush(false)
	return true
}

// putLater queues a response without writing it: the reader calls kick when it has handled
// what it has read.
func (w *writer) putLater(f *frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.answers.conn.in.remove(f.answers)
	if w.err == nil {
		w.append(f)
	}
}

// putOwn queues an answer of the reader itself ahead of all packets. It is for the
// reader alone. When the queue is full it is written first; it fails when that takes longer than
// ownWait, because the peer doesn't read.
func (w *writer) putOwn(f *frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ownN == maxOwn && !w.writeOwn() {
		return errOwnFull
	}
	if w.err != nil {
		return nil
	}
	w.ownN++
	w.own = appendHeader(w.own, f.flag, f.seq, f.code, f.meta, len(f.body))
	w.own = append(w.own, f.body...)
	return nil
}

// writeOwn has the reader's answers written and reports whether they left the queue within
// ownWait. It is called, and returns, with the lock held.
func (w *writer) writeOwn() bool {
	timer := time.NewTimer(ownWait)
	defer timer.Stop()
	for w.err == nil && w.ownN == maxOwn {
		if w.space == nil {
			w.space = make(chan struct{})
		}
		space := w.space
		w.startFlush(false)
		select {
		case <-space:
		case <-timer.C:
			w.mu.Lock()
			return w.ownN < maxOwn
		}
		w.mu.Lock()
	}
	return true
}

// over reports whether f has to wait.
func (w *writer) over(f *frame) bool {
	most := w.max
	if f.bulk {
		most = min(most, maxBulk)
	}
	return !w.rush && w.queued > 0 && w.queued+len(f.body) > most
}

// putCredit queues a credit frame ahead of all packets, without writing it. There can't be many: each
// answers at least half a window of what has come.
func (w *writer) putCredit(flag Flag, seq uint16, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	var b [binary.MaxVarintLen64]byte
	body := b[:binary.PutUvarint(b[:], uint64(n))]
	w.own = appendHeader(w.own, flag, seq, creditCode, nil, len(body))
	w.own = append(w.own, body...)
}

// hurry lets all who wait queue what they have: the connection is about to end.
func (w *writer) hurry() {
	w.mu.Lock()
	w.rush = true
	if w.letIn() {
		w.startWorker()
		return
	}
	w.mu.Unlock()
}

// roomy reports whether n more bytes may be queued at once. It doesn't need the lock.
func (w *writer) roomy(n int) bool {
	load := int(w.load.Load())
	return load == 0 || load+n <= w.max
}

// full reports whether so much is queued that packets have to wait.
func (w *writer) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued >= w.max
}

// kick writes what putLater and putOwn have queued.
func (w *writer) kick() {
	w.mu.Lock()
	if w.err != nil || w.queued == 0 && len(w.own) == 0 {
		w.mu.Unlock()
		return
	}
	w.startFlush(false)
}

// waitSpace waits until f may be queued. It is called, and returns, with
// the lock held.
func (w *writer) waitSpace(ctx context.Context, f *frame) error {
	for w.err == nil && w.over(f) {
		if w.space == nil {
			w.space = make(chan struct{})
		}
		space := w.space
		w.mu.Unlock()
		_, err := await(ctx, space, "the other end to read the %d bytes that are queued", w.max)
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// sent reports whether any byte from position pos on may have been handed to the
// transport.
func (w *writer) sent(pos uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offered > pos
}

// broken ends the write side after a failed write.
func (w *writer) broken(err error) {
	w.mu.Lock()
	w.offered = w.written
	w.mu.Unlock()
	w.close(err)
	w.fail(err)
}

// close refuses further packets with err and lets go of all who wait. What is queued is dropped.
func (w *writer) close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.queue, w.spare, w.own, w.queued, w.ownN = nil, nil, nil, 0, 0
	w.load.Store(0)
	w.dropWaiting()
	if w.space != nil {
		close(w.space)
		w.space = nil
	}
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// drain waits until all that is queued is written, the write side is closed, or
// ctx ends.
func (w *writer) drain(ctx context.Context) error {
	w.mu.Lock()
	if w.err != nil || !w.flushing && w.queued == 0 && len(w.own) == 0 {
		w.mu.Unlock()
		return nil
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.startFlush(false)
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuseRequests makes put fail with err for requests, those that wait included.
func (w *writer) refuseRequests(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bye = err
}

// teach lets paths be taught to the other end, which keeps at most n.
func (w *writer) teach(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taught.limit = min(n, maxLearned)
}

// trim lets go of memory that a writer that has nothing to write doesn't need.
func (w *writer) trim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.flushing && w.queued == 0 && len(w.own) == 0 {
		w.queue, w.spare, w.batch, w.vec = nil, nil, nil, nil
	}
}

// setSingle makes each packet be written by itself.
func (w *writer) setSingle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.single = true
}
