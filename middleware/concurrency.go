package middleware

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// DefaultConcurrencyWait is how long a call waits for its turn if Concurrency isn't told.
const DefaultConcurrencyWait = time.Second

// ConcurrencyOptions are the options of Concurrency. nil and the zero value mean the defaults.
type ConcurrencyOptions struct {
	// Waiting is how many calls of a route wait for their turn at once. Default: as many as run; negative: none.
	Waiting int
	// MaxWait is how long each of them waits at most. Default: DefaultConcurrencyWait.
	MaxWait time.Duration
}

// Concurrency returns a Middleware that lets n calls or messages of each route run at once, and has others wait for their
// turn. One for which there is no room to wait, or that has waited for too long, is refused with BUSY; one whose
// deadline passes, or whose caller gives up, while it waits, with TIMEOUT or CANCELED: all before their messages are decoded,
// as not processed. A stream takes its place until its handler has returned. Concurrency panics if n is less than 1.
//
// Each route has a limit of its own, and a pattern such as /user/{id} is one route; so has NotFound. Calls that run when Router.Use
// changes a route's middleware don't count for its new limit. An Inline handler runs where packets are read, which a call that waits would
// stop: give such routes a negative Waiting.
func Concurrency(n int, opts *ConcurrencyOptions) flyrpc.Middleware {
	if n < 1 {
		panic(fmt.Sprintf("middleware: Concurrency: %d at once: at least 1 has to be able to run", n))
	}
	var o ConcurrencyOptions
	if opts != nil {
		o = *opts
	}
	if o.Waiting == 0 {
		o.Waiting = n
	}
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultConcurrencyWait
	}
	return func(next flyrpc.Handler) flyrpc.Handler {
		t := &turns{running: make(chan struct{}, n), most: int64(o.Waiting), maxWait: o.MaxWait}
		return func(ctx *flyrpc.Context) (any, error) {
			if err := t.take(ctx); err != nil {
				return nil, ctx.Refuse(err)
			}
			defer t.giveBack()
			return next(ctx)
		}
	}
}

// turns are those of the calls of one route.
type turns struct {
	running chan struct{} // has as many as are running
	waiting atomic.Int64
	most    int64 // that wait
	maxWait time.Duration
}

// take waits for a turn. The error says why there is none.
func (t *turns) take(ctx context.Context) *flyrpc.Error {
	select {
	case t.running <- struct{}{}:
		return nil
	default:
	}
	defer t.waiting.Add(-1)
	if t.waiting.Add(1) > t.most {
		return flyrpc.Errorf(flyrpc.Busy, "%d calls of this path are being handled and %d wait", cap(t.running), max(0, t.most))
	}
	timer := time.NewTimer(t.maxWait)
	defer timer.Stop()
	select {
	case t.running <- struct{}{}:
		return nil
	case <-timer.C:
		return flyrpc.Errorf(flyrpc.Busy, "%d calls of this path were being handled for %v", cap(t.running), t.maxWait)
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return flyrpc.Errorf(flyrpc.Timeout, "the deadline passed while the call waited for its turn")
	}
	return flyrpc.Errorf(flyrpc.Canceled, "the call was cancelled while it waited for its turn")
}

// giveBack ends a turn.
func (t *turns) giveBack() { <-t.running }
