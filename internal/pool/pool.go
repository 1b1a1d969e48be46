// Package pool runs tasks on warm goroutines.
//
// A goroutine that has just run a task has a stack of the right size and its data in the
// caches, so the one that went idle last is the first to be used again. A new one is
// started only if none is idle, so a task never waits for another.
package pool

import (
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
	idle   []*Worker // the one that went idle last is last
	low    int       // the fewest idle workers since the last trim
	trim   *time.Timer
	closed bool
}

// Worker is one goroutine of a Pool with its buffers.
type Worker struct {
	// In and Out are buffers for the task's use. Between Get and Run they belong to whoever
	// got the worker; while the task runs, to the task.
	In, Out []byte

	pool  *Pool
	tasks chan Task
}

// Get takes a worker out of the pool: the one that went idle last, or a new one. The
// caller must call its Start exactly once.
func (p *Pool) Get() *Worker {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.low = min(p.low, n-1)
		p.mu.Unlock()
		return w
	}
	p.mu.Unlock()
	w := &Worker{pool: p, tasks: make(chan Task, 1)}
	go w.loop()
	return w
}

// Go runs t on a worker.
func (p *Pool) Go(t Task) { p.Get().Start(t) }

// Start runs t on the worker's goroutine and returns at once.
func (w *Worker) Start(t Task) { w.tasks <- t }

// loop runs tasks until the pool drops the worker. A task that ends its goroutine
// with runtime.Goexit ends the worker and nothing else.
func (w *Worker) loop() {
	for t := range w.tasks {
		t.Run(w)
		if !w.pool.park(w) {
			return
		}
	}
}

// park makes w idle and reports whether it may stay.
func (p *Pool) park(w *Worker) bool {
	if cap(w.In) > maxKept {
		w.In = nil
	}
	if cap(w.Out) > maxKept {
		w.Out = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, w)
	if p.trim == nil {
		p.low = 0
		p.trim = time.AfterFunc(trimEvery, p.trimIdle)
	}
	return true
}

// trimIdle ends the workers that were idle all the time since the last trim.
func (p *Pool) trimIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, w := range p.idle[:p.low] {
		close(w.tasks)
	}
	n := copy(p.idle, p.idle[p.low:])
	clear(p.idle[n:])
	p.idle = p.idle[:n]
	p.low = n
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
		close(w.tasks)
	}
	p.idle = nil
	if p.trim != nil {
		p.trim.Stop()
		p.trim = nil
	}
}
