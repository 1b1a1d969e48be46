package measure

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// The phases of a measurement. Callers call in all but the last.
const (
	warming = iota
	measuring
	over
)

// Load is what a client is to do.
type Load struct {
	Client  peers.Client
	Message *peers.Message
	Callers int
	Warmup  time.Duration
	Time    time.Duration
	// Usage returns what all processes together have used.
	Usage func() (Usage, error)
}

// Calls is what came of a load.
type Calls struct {
	Latency Histogram
	// Lateness is how much later than due Open had calls begin.
	Lateness Histogram
	Time     time.Duration
	Used     Usage
}

// closed is a load under way.
type closed struct {
	load  *Load
	phase atomic.Int32
	done  sync.WaitGroup

	mu      sync.Mutex
	latency Histogram
	err     error
}

// Closed has all callers call, each again as soon as its call has returned.
func (l *Load) Closed() (*Calls, error) {
	c := &closed{load: l}
	if b, ok := l.Client.(peers.Batcher); ok {
		call := b.Batch(l.Message, l.Callers)
		c.done.Go(func() { c.run(call, int64(l.Callers)) })
	} else {
		for range l.Callers {
			call := l.Client.Caller(l.Message)
			c.done.Go(func() { c.run(call, 1) })
		}
	}
	calls, err := c.measure()
	c.phase.Store(over)
	c.done.Wait()
	if err == nil {
		err = c.err
	}
	if err != nil {
		return nil, err
	}
	calls.Latency = c.latency
	return calls, nil
}

// measure lets the callers get warm, and returns what the time after that took.
func (c *closed) measure() (*Calls, error) {
	time.Sleep(c.load.Warmup)
	before, err := c.load.Usage()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	c.phase.Store(measuring)
	time.Sleep(c.load.Time)
	c.phase.Store(over)
	took := time.Since(begin)
	after, err := c.load.Usage()
	return &Calls{Time: took, Used: after.Minus(before)}, err
}

// run calls until the measurement is over. One call counts for n.
func (c *closed) run(call func() (peers.Message, error), n int64) {
	latency := new(Histogram)
	begin := time.Now()
	for c.phase.Load() != over {
		reply, err := call()
		if err == nil {
			err = c.load.Message.Glance(&reply)
		}
		if err != nil {
			c.fail(err)
			return
		}
		end := time.Now()
		if c.phase.Load() == measuring {
			latency.Add(end.Sub(begin), n)
		}
		begin = end
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency.Merge(latency)
}

// fail keeps the first error, and ends the measurement.
func (c *closed) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}
