package growth

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// flooders is how many callers, or senders, a flood has.
const flooders = 128

// Flood is a connection on which as many calls or messages are made as it takes.
type Flood struct {
	client *flyrpc.Client
	made   atomic.Int64
	over   atomic.Bool
	done   sync.WaitGroup

	mu  sync.Mutex
	err error
}

// StartFlood floods the server of a Neighbours point with Calls or Messages until the
// Flood is closed.
func StartFlood(p Point, addr string) (*Flood, error) {
	if p.Kind != Calls && p.Kind != Messages {
		return nil, fmt.Errorf("there is no flood of %q", p.Kind)
	}
	_, opts := p.options()
	client, err := flyrpc.Dial(context.Background(), addr, opts)
	if err != nil {
		return nil, err
	}
	f := &Flood{client: client}
	for range flooders {
		f.done.Go(func() { f.run(p.Kind) })
	}
	return f, nil
}

// run makes one call or message after the other.
func (f *Flood) run(kind string) {
	m, ctx := peers.NewMessage(peers.Small), context.Background()
	var reply peers.Message
	make1 := func() error { return f.client.Call(ctx, peers.FlyrpcPath, m, &reply) }
	if kind == Messages {
		make1 = func() error { return f.client.SendMessage(ctx, notePath, m) }
	}
	for !f.over.Load() {
		if err := make1(); err != nil {
			f.fail(err)
			return
		}
		f.made.Add(1)
	}
}

// fail keeps the first error that isn't the end's.
func (f *Flood) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && !f.over.Load() {
		f.err = err
	}
}

// Made returns how many calls have returned, or messages were taken to be sent, and what
// has stopped them.
func (f *Flood) Made() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made.Load(), f.err
}

// Close ends the flood.
func (f *Flood) Close() {
	f.over.Store(true)
	_ = f.client.Close()
	f.done.Wait()
}
