package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-flyrpc/flyrpc/service"
)

const (
	// fetchWait is how long the broker is asked to wait for messages. Drain takes as long if there are none.
	fetchWait = time.Second
	// consumeTime is how long Consume may take, and consumeWait how long each try to make what it needs.
	consumeTime = 30 * time.Second
	consumeWait = 4 * time.Second
	// fetchAgain is the time after which a broker is asked again that couldn't answer.
	fetchAgain = 200 * time.Millisecond
	// fetchComplain is how often a broker that doesn't answer is logged.
	fetchComplain = 10 * time.Second
)

// consumer is the service.Subscription of durable messages. It asks the broker for as many messages as may be handled now, and no more: what waits
// for a handler waits in the broker, where others can take it.
type consumer struct {
	bus      *Bus
	from     jetstream.Consumer
	subject  string
	wait     time.Duration
	handler  func(*service.Delivery)
	slots    chan struct{} // one for each message that is delivered and not settled
	stop     chan struct{} // closed when no more is to be fetched
	fetched  chan struct{} // closed when no more comes
	ctx      context.Context
	cancel   context.CancelFunc
	complain time.Time // when it may be logged again that the broker doesn't answer

	mu       sync.Mutex
	stopped  bool
	settlers map[*settler]struct{} // of what isn't settled
}

// Consume is that of service.DurableBus. It fails when the broker hasn't made what it needs within 30 s. The store of c.Subject keeps messages until all its consumers have settled them; those of c.Keep for
// StoreOpts.KeepAge at most.
func (b *Bus) Consume(c service.Consume) (service.Subscription, error) {
	if err := checkConsume(c); err != nil {
		return nil, err
	}
	if err := b.alive(); err != nil {
		return nil, err
	}
	from, err := b.consumer(c)
	if err != nil {
		return nil, err
	}
	s := &consumer{
		bus: b, from: from, subject: c.Subject, wait: c.AckWait, handler: c.Handler,
		slots: make(chan struct{}, c.Concurrent),
		stop:  make(chan struct{}), fetched: make(chan struct{}), settlers: map[*settler]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.cancel()
		return nil, service.ErrBusClosed
	}
	b.subs[s] = struct{}{}
	go s.run()
	return s, nil
}

// checkConsume looks at what is asked for.
func checkConsume(c service.Consume) error {
	for _, subject := range slices.Concat([]string{c.Subject}, c.Keep) {
		if err := service.CheckSubject(subject, true); err != nil {
			return err
		}
	}
	if c.Name == "" || plainName(c.Name) != c.Name {
		return fmt.Errorf("natsbus: the name of a consumer is made of letters, digits, - and _, unlike %q", c.Name)
	}
	if c.Concurrent < 1 || c.AckWait <= 0 {
		return fmt.Errorf("natsbus: the consumer %s needs Concurrent and AckWait, not %d and %v", c.Name, c.Concurrent, c.AckWait)
	}
	return nil
}

// consumer makes the stores and the consumer, if they don't exist. It tries again while the servers can't do it.
func (b *Bus) consumer(c service.Consume) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), consumeTime)
	defer cancel()
	for {
		once, end := context.WithTimeout(ctx, consumeWait) // servers that change leaders answer some questions never
		consumer, err := b.consumerOnce(once, c)
		end()
		if err == nil || !isPassing(err) || sleep(ctx, storeWait) != nil {
			return consumer, err
		}
	}
}

func (b *Bus) consumerOnce(ctx context.Context, c service.Consume) (jetstream.Consumer, error) {
	for _, subject := range c.Keep {
		if _, err := b.store(ctx, subject, b.opts.Store.KeepAge); err != nil {
			return nil, err
		}
	}
	stream, err := b.store(ctx, c.Subject, 0)
	if err != nil {
		return nil, err
	}
	old, err := stream.Consumer(ctx, c.Name)
	if err == nil && old.CachedInfo().Config.FilterSubject != c.Subject {
		return nil, fmt.Errorf("%w: %s has the subject %q, not %q", errOtherSubject, c.Name, old.CachedInfo().Config.FilterSubject, c.Subject)
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       c.Name,
		Description:   "a durable binding of FlyRPC services",
		FilterSubject: c.Subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: -1, // Concurrent is the limit of each instance
	})
	if err == nil {
		err = b.settle(ctx, stream, c.Subject)
	}
	if err != nil {
		return nil, fmt.Errorf("natsbus: the consumer %s of %q: %w", c.Name, c.Subject, err)
	}
	return consumer, nil
}

// errOtherSubject is what Consume returns for a name that is taken.
var errOtherSubject = errors.New("natsbus: a consumer has another subject: consumers of a store need different names")

// run fetches messages until Drain or Close.
func (s *consumer) run() {
	defer s.bus.remove(s)
	defer close(s.fetched)
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.stop:
			return
		}
		if s.isStopped() {
			<-s.slots
			return
		}
		n := 1
		for n < cap(s.slots) && s.take() {
			n++
		}
		s.fetch(n)
	}
}

// take takes a slot if one is free.
func (s *consumer) take() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *consumer) isStopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// fetch asks for n messages, for which there are slots, and hands them over as they come.
func (s *consumer) fetch(n int) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchWait) // nine tenths of which the broker waits
	defer cancel()
	batch, err := s.from.Fetch(n, jetstream.FetchContext(ctx))
	if err == nil {
		for m := range batch.Messages() {
			s.deliver(m)
			n--
		}
		err = batch.Error()
	}
	for range n {
		<-s.slots
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && s.ctx.Err() == nil {
		s.log(err)
		_ = sleep(s.ctx, fetchAgain)
	}
}

// log says that messages can't be fetched, but not each time.
func (s *consumer) log(err error) {
	if now := time.Now(); now.After(s.complain) {
		s.complain = now.Add(fetchComplain)
		s.bus.opts.Logger.Warn("natsbus: durable messages can't be fetched now", "subject", s.subject, "error", err)
	}
}

// deliver hands over a message. If the consumer was closed, the broker has it again when AckWait is over.
func (s *consumer) deliver(m jetstream.Msg) {
	tries := 1
	if meta, err := m.Metadata(); err == nil {
		tries = int(meta.NumDelivered)
	}
	d := &settler{from: s, msg: m}
	s.mu.Lock()
	if s.settlers == nil {
		s.mu.Unlock()
		_ = m.Nak()
		<-s.slots
		return
	}
	s.settlers[d] = struct{}{}
	d.timer = time.AfterFunc(s.wait, d.expire)
	s.mu.Unlock()
	s.handler(&service.Delivery{
		Message: service.Message{Subject: m.Subject(), Data: m.Data()},
		ID:      m.Headers().Get(jetstream.MsgIDHeader),
		Tries:   tries,
		Settle:  d,
	})
}

// end has no more fetched.
func (s *consumer) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.stopped = true
		close(s.stop)
	}
}

// Close is that of service.Subscription.
func (s *consumer) Close() error {
	s.end()
	s.cancel()
	s.mu.Lock()
	open := s.settlers
	s.settlers = nil
	s.mu.Unlock()
	for d := range open {
		_ = d.giveBack() // otherwise AckWait is what gives it back
	}
	return nil
}

// Drain is that of service.Subscription. What the broker has been asked for is awaited for up to a second.
func (s *consumer) Drain(ctx context.Context) error {
	s.end()
	select {
	case <-s.fetched:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.Close())
	}
	for range cap(s.slots) { // all of them are free when all is settled
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return nil
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.Close())
		}
	}
	return s.Close()
}
