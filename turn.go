package flyrpc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// turn says whether a goroutine reads a connection. What the reader alone uses belongs to
// whoever has the turn.
type turn struct {
	n       atomic.Uint32 // odd while nobody reads; it never has the same value twice in a row
	watched atomic.Bool   // the watcher looks after it
}

// idle reports whether nobody reads.
func (t *turn) idle() bool { return t.n.Load()&1 == 1 }

// take makes the caller the reader, unless there is one or was one just now.
func (t *turn) take() bool {
	n := t.n.Load()
	return n&1 == 1 && t.n.CompareAndSwap(n, n+1)
}

// freeTurn ends the caller's turn: whoever takes it next reads on, and if nobody
// does within two ticks of the watcher, a worker.
func (c *Conn) freeTurn() {
	c.turn.n.Add(1)
	if !c.turn.watched.Load() {
		c.ep.watcher.add(c)
	}
}

// resume has a worker read, unless somebody reads.
func (c *Conn) resume() {
	if c.turn.take() {
		c.startReading()
	}
}

// startReading has a worker read for the caller, whose turn it was.
func (c *Conn) startReading() { c.ep.workers.Go(readTask{c}, nil) }

// readTask reads a connection, whose turn it has.
type readTask struct{ c *Conn }

// Run reads until the connection ends or is parked, or somebody else reads on. Meanwhile the
// worker holds no buffers.
func (t readTask) Run(w *pool.Worker) {
	w.In, w.Out = nil, nil
	if t.c.read() {
		w.End()
	}
}

// watchTick is how often connections are looked at whose reader may be missing.
const watchTick = time.Millisecond

// watcher looks after connections that go without a reader for a while. It does nothing
// while there are none.
type watcher struct {
	mu    sync.Mutex
	conns []watched
	timer *time.Timer
}

type watched struct {
	c    *Conn
	last uint32 // the turn at the last tick
}

// add has c looked after, unless it is already.
func (w *watcher) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.turn.watched.Swap(true) {
		return
	}
	w.conns = append(w.conns, watched{c, c.turn.n.Load()})
	switch {
	case w.timer == nil:
		w.timer = time.AfterFunc(watchTick, w.tick)
	case len(w.conns) == 1:
		w.timer.Reset(watchTick)
	}
}

// tick has workers read the connections where nobody has since the last tick, and
// forgets those where one goroutine has all the time.
func (w *watcher) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	keep := w.conns[:0]
	for _, e := range w.conns {
		t := &e.c.turn
		n := t.n.Load()
		if n == e.last && n&1 == 0 {
			t.watched.Store(false)
			if t.n.Load() == n || t.watched.Swap(true) {
				continue
			}
		}
		if n == e.last && t.n.CompareAndSwap(n, n+1) {
			e.c.startReading()
		}
		e.last = t.n.Load()
		keep = append(keep, e)
	}
	clear(w.conns[len(keep):])
	w.conns = keep
	if len(keep) > 0 {
		w.timer.Reset(watchTick)
	}
}
