package natsbus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/service"
)

// How a server answers a message with a reply subject that nobody gets: no data, and this header.
const (
	statusHeader = "Status"
	noResponders = "503"
)

// recount is how often a subscription that drops messages is asked whether it has dropped more.
const recount = time.Second

// subscription is a service.Subscription. One goroutine of nats.go's calls the handler, and one looks at what is dropped.
type subscription struct {
	bus     *Bus
	sub     *nats.Subscription
	handler func(*service.Message)
	dropped func(uint64)
	closed  atomic.Bool
	done    chan struct{} // closed when nats.go is through with it
}

// Subscribe is that of service.Bus. What nats.go counts as pending includes the message that Handler has; so one message more than Pending,
// and the bytes of the largest one more than PendingBytes, may be there.
func (b *Bus) Subscribe(s service.Subscribe) (service.Subscription, error) {
	if err := checkSubscribe(s); err != nil {
		return nil, err
	}
	sub := &subscription{bus: b, handler: s.Handler, dropped: s.Dropped, done: make(chan struct{})}
	if err := b.begin(sub, s); err != nil {
		return nil, err
	}
	return sub, nil
}

// begin subscribes. It holds the lock, so that Close finds all subscriptions as they are.
func (b *Bus) begin(sub *subscription, s service.Subscribe) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return service.ErrBusClosed
	}
	if sub.sub, err = b.nc.QueueSubscribe(s.Subject, s.Queue, sub.handle); err != nil {
		return known(err)
	}
	setDefault(&s.Pending, service.DefaultPending)
	setDefault(&s.PendingBytes, service.DefaultPendingBytes)
	most := min(s.PendingBytes, math.MaxInt-int(b.nc.MaxPayload())) + int(b.nc.MaxPayload())
	if err := sub.sub.SetPendingLimits(min(s.Pending, math.MaxInt-1)+1, most); err != nil {
		return errors.Join(known(err), sub.sub.Unsubscribe())
	}
	b.subs[sub] = struct{}{}
	go sub.watch(sub.sub.StatusChanged(nats.SubscriptionSlowConsumer))
	return nil
}

// checkSubscribe looks at what is asked for.
func checkSubscribe(s service.Subscribe) error {
	if err := service.CheckSubject(s.Subject, true); err != nil {
		return err
	}
	if s.Queue == "" {
		return nil
	}
	if err := service.CheckSubject(s.Queue, false); err != nil { // NATS has the same rule
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// handle hands over a message.
func (s *subscription) handle(m *nats.Msg) {
	if s.closed.Load() {
		return
	}
	if len(m.Data) == 0 && m.Header.Get(statusHeader) == noResponders {
		s.handler(&service.Message{Subject: m.Subject, NoResponders: true})
		return
	}
	s.handler(&service.Message{Subject: m.Subject, Reply: m.Reply, Data: m.Data})
}

// watch tells of messages that are dropped, until the subscription ends.
func (s *subscription) watch(slow <-chan nats.SubStatus) {
	defer close(s.done)
	defer s.bus.remove(s)
	var told int
	var again <-chan time.Time
	for {
		select {
		case _, open := <-slow:
			if !open {
				return
			}
		case <-again:
		case <-s.bus.gone:
			return
		}
		again = nil
		if n, err := s.sub.Dropped(); err == nil && n > told {
			s.tell(n - told)
			told, again = n, time.After(recount)
		}
	}
}

// tell says that messages were dropped.
func (s *subscription) tell(n int) {
	s.bus.opts.Logger.Warn("natsbus: messages were dropped, because a handler is slower than they come",
		"subject", s.sub.Subject, "queue", s.sub.Queue, "dropped", n)
	if s.dropped != nil {
		s.dropped(uint64(n))
	}
}

// Close is that of service.Subscription.
func (s *subscription) Close() error {
	s.closed.Store(true)
	return ended(s.sub.Unsubscribe())
}

// Drain is that of service.Subscription.
func (s *subscription) Drain(ctx context.Context) error {
	if err := ended(s.sub.Drain()); err != nil {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.Close())
	}
}

// ended is an error of ending a subscription, unless it had ended before.
func ended(err error) error {
	if err == nil || errors.Is(err, nats.ErrBadSubscription) || errors.Is(err, nats.ErrConnectionClosed) {
		return nil
	}
	return known(err)
}
