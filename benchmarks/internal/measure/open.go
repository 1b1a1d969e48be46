package measure

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// drainTime is how long calls that are late may take to end after the last one was due.
const drainTime = 5 * time.Second

// openLoad is calls that are due at fixed times, whether others have returned or not.
type openLoad struct {
	load     *Load
	due      chan dueCall
	done     sync.WaitGroup
	lateness Histogram   // of the pace itself
	late     atomic.Bool // too much is late: what is due is dropped

	mu      sync.Mutex
	latency Histogram
	err     error
}

// dueCall is one call, and whether it counts or is for getting warm.
type dueCall struct {
	at     time.Time
	counts bool
}

// Open makes rate calls each second, at even distances. A call's latency begins when it
// is due, so it has in it what the call waited for a free caller, or for the calls before it.
func (l *Load) Open(rate int) (*Calls, error) {
	warm, total := count(l.Warmup, rate), count(l.Warmup+l.Time, rate)
	o := &openLoad{load: l, due: make(chan dueCall, total)}
	for range l.Callers {
		call := l.Client.Caller(l.Message)
		o.done.Go(func() { o.run(call) })
	}
	o.pace(rate, warm, false)
	before, err := l.Usage()
	if err != nil {
		o.finish()
		return nil, err
	}
	begin := time.Now()
	o.pace(rate, total-warm, true)
	o.finish()
	took := time.Since(begin)
	after, err := l.Usage()
	if err == nil {
		err = o.err
	}
	if err != nil {
		return nil, err
	}
	return &Calls{Latency: o.latency, Lateness: o.lateness, Time: took, Used: after.Minus(before)}, nil
}

// count returns how many calls are due in d.
func count(d time.Duration, rate int) int {
	return int(d.Seconds() * float64(rate))
}

// pace makes n calls due, one after the other. When it wakes late it makes all due that should be.
func (o *openLoad) pace(rate, n int, counts bool) {
	begin := time.Now()
	for i := range n {
		at := begin.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
		for wait := time.Until(at); wait > 0; wait = time.Until(at) {
			sleep(wait)
		}
		if counts {
			o.lateness.Add(time.Since(at), 1)
		}
		o.due <- dueCall{at, counts}
	}
}

// finish waits for the callers. What is not begun after drainTime never is.
func (o *openLoad) finish() {
	close(o.due)
	timer := time.AfterFunc(drainTime, func() { o.late.Store(true) })
	defer timer.Stop()
	o.done.Wait()
}

// run makes the calls that are due, and takes the time of those that count.
func (o *openLoad) run(call func() (peers.Message, error)) {
	latency := new(Histogram)
	for next := range o.due {
		if o.late.Load() {
			continue
		}
		reply, err := call()
		if err == nil {
			err = o.load.Message.Glance(&reply)
		}
		if err != nil {
			o.fail(err)
			continue
		}
		if next.counts {
			latency.Add(time.Since(next.at), 1)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.latency.Merge(latency)
}

// fail keeps the first error.
func (o *openLoad) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}
