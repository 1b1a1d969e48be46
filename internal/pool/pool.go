// Package pool runs tasks on warm goroutines.
//
// A goroutine that has just run a task has a stack of the right size and its data in the
// caches. So a worker that ends a task goes on with the next one that waits, and the one
// that went idle last is the first to be used again. A task never waits for another to
// end: as long as tasks wait, one worker is on its way to take the next of them, and that
// one wakes another before it begins. While tasks are short, few workers do many of them
// and hardly any is woken; when they block, each has a worker to itself.
package pool

import (
	"context"
	"runtime/pprof"
	"sync"
	"time"
)

// maxKept is the largest buffer, in bytes, that a worker keeps between tasks.
const maxKept = 32 << 10

// trimEvery is how long a worker stays idle, at least, before it ends.
const trimEvery = 5 * time.Second

// Task is a piece of work. Run is called once, on a worker's goroutine, and may use
// the worker's buffers until it returns.
type Task interface {
	Run(w *Worker)
}

// Pool hands tasks to workers. The zero Pool is ready. All methods may be called
// concurrently.
type Pool struct {
	mu     sync.Mutex
	tasks  queue
	idle   []*Worker // the one that went idle last is last
	waking bool      // a worker is on its way to take a task
	low    int       // the fewest idle workers since the last trim
	trim   *time.Timer
	closed bool
}

// Worker is one goroutine of a Pool with its buffers.
type Worker struct {
	// In holds the data that came with the task. Out is a buffer for the task's use. Both
	// are the task's while it runs.
	In, Out []byte

	pool *Pool
	wake chan struct{} // capacity 1; closed to end the worker
	last bool          // the worker ends with its task
}

// Go runs t on a worker, which finds a copy of data in its In. Tasks begin in the order in
// which they are given.
func (p *Pool) Go(t Task, data []byte) {
	p.mu.Lock()
	p.tasks.push(t, data)
	w := p.summon()
	p.mu.Unlock()
	w.start()
}

// summon returns the worker to start so that the next task is taken, or nil if there
// is none or a worker is on its way. It is called with the lock held.
func (p *Pool) summon() *Worker {
	if p.waking || p.tasks.len() == 0 {
		return nil
	}
	p.waking = true
	n := len(p.idle) - 1
	if n < 0 {
		return &Worker{pool: p}
	}
	w := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	p.low = min(p.low, n)
	return w
}

// start starts a worker that summon returned.
func (w *Worker) start() {
	switch {
	case w == nil:
	case w.wake == nil:
		w.wake = make(chan struct{}, 1)
		go w.loop()
	default:
		w.wake <- struct{}{}
	}
}

// End has the worker end with its task, instead of going idle: for a task that has kept it long, and is
// one of many that end at a time. It is called on the worker's goroutine.
func (w *Worker) End() { w.last = true }

// loop runs tasks until the pool drops the worker. A task that ends its goroutine
// with runtime.Goexit ends the worker and nothing else.
func (w *Worker) loop() {
	// A worker does tasks of others than whoever was the first to need it, so it doesn't keep the labels of that one.
	pprof.SetGoroutineLabels(context.Background())
	for woken := true; ; {
		t, more := w.take(woken)
		if !more {
			return
		}
		if woken = t == nil; woken {
			if _, more = <-w.wake; !more {
				return
			}
			continue
		}
		if t.Run(w); w.last {
			return
		}
	}
}

// take returns the next task. If there is none it makes w idle, or reports that w is to end.
func (w *Worker) take(woken bool) (t Task, more bool) {
	p := w.pool
	if cap(w.In) > maxKept {
		w.In = nil
	}
	if cap(w.Out) > maxKept {
		w.Out = nil
	}
	p.mu.Lock()
	if woken {
		p.waking = false
	}
	if p.tasks.len() > 0 {
		t = p.tasks.pop(&w.In)
		other := p.summon()
		p.mu.Unlock()
		other.start()
		return t, true
	}
	defer p.mu.Unlock()
	if p.closed {
		return nil, false
	}
	p.idle = append(p.idle, w)
	if p.trim == nil {
		p.low = 0
		p.trim = time.AfterFunc(trimEvery, p.trimIdle)
	}
	return nil, true
}

// trimIdle ends the workers that were idle all the time since the last trim.
func (p *Pool) trimIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, w := range p.idle[:p.low] {
		close(w.wake)
	}
	n := copy(p.idle, p.idle[p.low:])
	clear(p.idle[n:])
	p.idle = p.idle[:n]
	p.low = n
	p.tasks.trim()
	if n == 0 {
		p.idle, p.trim = nil, nil
		return
	}
	p.trim.Reset(trimEvery)
}

// Close ends the idle workers at once and the others when their task returns. Tasks
// may still be started, each on a goroutine that ends with it.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		close(w.wake)
	}
	p.idle = nil
	if p.trim != nil {
		p.trim.Stop()
		p.trim = nil
	}
}
