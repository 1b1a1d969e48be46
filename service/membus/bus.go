// Package membus is a service.Bus inside the process: for tests, and for programs that are a single process. It has the
// semantics of the others: subjects and wildcards, queues, no responders, a largest payload, slow
// consumers whose messages are dropped and counted, and durable messages with redelivery.
//
// It doesn't keep anything beyond the process: durable messages are in memory, and PublishDurable's acknowledgement means
// no more than that.
package membus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

// The defaults of Options.
const (
	DefaultMaxPayload   = 1 << 20
	DefaultDuplicates   = 2 * time.Minute
	DefaultMaxKept      = 65_536
	DefaultMaxKeptBytes = 64 << 20
)

// Options are those of a Bus. nil and the zero value mean the defaults.
type Options struct {
	// MaxPayload is the largest message in bytes. Default 1 MiB, as NATS has it; at least 1 KiB.
	MaxPayload int
	// Duplicates is how long the id of a durable message is remembered. Default 2 minutes.
	Duplicates time.Duration
	// MaxKept is how many durable messages are kept at the most, and MaxKeptBytes how many bytes of data in
	// them. PublishDurable fails with service.ErrStoreFull beyond. Default 65,536 and 64 MiB. As many ids are remembered at the most.
	MaxKept, MaxKeptBytes int
}

// Bus is one user's end of a bus inside the process. All methods may be called concurrently.
type Bus struct {
	broker *broker
	closed atomic.Bool

	mu   sync.Mutex
	subs map[closer]struct{}
}

var _ service.DurableBus = (*Bus)(nil)

// closer is a subscription of either kind.
type closer interface{ Close() error }

// broker is what all ends of a bus share.
type broker struct {
	opts  Options
	mu    sync.RWMutex
	tree  tree
	store store
}

// New returns an end of a new bus. nil means the default options.
func New(opts *Options) *Bus {
	var o Options
	if opts != nil {
		o = *opts
	}
	setDefault(&o.MaxPayload, DefaultMaxPayload)
	setDefault(&o.Duplicates, DefaultDuplicates)
	setDefault(&o.MaxKept, DefaultMaxKept)
	setDefault(&o.MaxKeptBytes, DefaultMaxKeptBytes)
	o.MaxPayload = max(o.MaxPayload, 1<<10)
	b := &broker{opts: o}
	b.store.begin(&b.opts)
	return b.end()
}

// setDefault sets an option that isn't positive.
func setDefault[T int | time.Duration](p *T, value T) {
	if *p <= 0 {
		*p = value
	}
}

func (b *broker) end() *Bus { return &Bus{broker: b, subs: map[closer]struct{}{}} }

// Join returns another end of the same bus, as another program would have one. Each is closed by itself; what is
// durable is kept as long as an end is.
func (b *Bus) Join() *Bus { return b.broker.end() }

// MaxPayload returns Options.MaxPayload.
func (b *Bus) MaxPayload() int { return b.broker.opts.MaxPayload }

// Flush returns at once: what Publish has returned from is in its subscriptions' queues.
func (b *Bus) Flush(ctx context.Context) error {
	if b.closed.Load() {
		return service.ErrBusClosed
	}
	return ctx.Err()
}

// check says why m can't be published.
func (b *Bus) check(m *service.Message) error {
	if b.closed.Load() {
		return service.ErrBusClosed
	}
	if len(m.Data) > b.broker.opts.MaxPayload {
		return fmt.Errorf("%w: %d bytes to %q, at most %d", service.ErrTooLarge, len(m.Data), m.Subject, b.broker.opts.MaxPayload)
	}
	if err := service.CheckSubject(m.Subject, false); err != nil {
		return err
	}
	if m.Reply != "" {
		return service.CheckSubject(m.Reply, false)
	}
	return nil
}

// Publish puts a copy of m into the queue of each subscription that is to get it.
func (b *Bus) Publish(m *service.Message) error {
	if err := b.check(m); err != nil {
		return err
	}
	b.broker.mu.RLock()
	defer b.broker.mu.RUnlock()
	if b.broker.deliver(m) == 0 && m.Reply != "" {
		b.broker.deliver(&service.Message{Subject: m.Reply, NoResponders: true})
	}
	return nil
}

// deliver gives m to its subscriptions and returns how many they are. It is called with the lock held.
func (b *broker) deliver(m *service.Message) (n int) {
	var found matches
	b.tree.match(m.Subject, &found)
	for _, s := range found.all {
		s.push(copyOf(m))
	}
	for _, members := range found.queues {
		members[int(b.tree.turn.Add(1))%len(members)].push(copyOf(m))
	}
	return len(found.all) + len(found.queues)
}

// copyOf returns a copy of m whose data is its own.
func copyOf(m *service.Message) *service.Message {
	c := *m
	c.Data = append([]byte(nil), m.Data...)
	return &c
}

// Subscribe implements service.Bus.
func (b *Bus) Subscribe(o service.Subscribe) (service.Subscription, error) {
	if err := service.CheckSubject(o.Subject, true); err != nil {
		return nil, err
	}
	setDefault(&o.Pending, service.DefaultPending)
	setDefault(&o.PendingBytes, service.DefaultPendingBytes)
	s := &subscription{bus: b, subject: o.Subject, queue: o.Queue, dropped: o.Dropped}
	s.line = line[*service.Message]{most: o.Pending, mostBytes: o.PendingBytes, take: o.Handler}
	if err := b.keep(s); err != nil {
		return nil, err
	}
	b.broker.mu.Lock()
	b.broker.tree.add(s)
	b.broker.mu.Unlock()
	return s, nil
}

// keep notes a subscription, to be closed with the bus.
func (b *Bus) keep(s closer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return service.ErrBusClosed
	}
	b.subs[s] = struct{}{}
	return nil
}

// forget is keep undone.
func (b *Bus) forget(s closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Close closes the subscriptions of this end.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed.Store(true)
	subs := b.subs
	b.subs = nil
	b.mu.Unlock()
	for s := range subs {
		s.Close()
	}
	return nil
}
