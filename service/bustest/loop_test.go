package bustest_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/go-flyrpc/flyrpc/service"
)

// loop is what the ends of one bus share. Its lock guards everything.
type loop struct {
	mu   sync.Mutex
	subs []*sub
}

// Loop is one end of a service.Bus inside the process.
type Loop struct {
	*loop
	err error // ErrBusClosed after Close
}

// sub is a subscription.
type sub struct {
	service.Subscribe
	*Loop
	changed *sync.Cond
	waiting []*service.Message
	bytes   int           // in waiting
	over    bool          // nothing is added any more
	done    chan struct{} // closed when all was handed out
}

func (l *Loop) MaxPayload() int { return 1 << 20 }

func (l *Loop) Publish(m *service.Message) error {
	if len(m.Data) > l.MaxPayload() {
		return service.ErrTooLarge
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := cmp.Or(service.CheckSubject(m.Subject, false), service.CheckSubject(cmp.Or(m.Reply, "none"), false), l.err)
	if err == nil && !l.deliver(m) && m.Reply != "" {
		l.deliver(&service.Message{Subject: m.Reply, NoResponders: true})
	}
	return err
}

// deliver gives m to all that are to have it, and reports whether there are any.
func (l *loop) deliver(m *service.Message) bool {
	found := map[string][]*sub{} // by queue
	for _, s := range l.subs {
		if service.MatchSubject(s.Subject, m.Subject) {
			found[s.Queue] = append(found[s.Queue], s)
		}
	}
	for queue, members := range found {
		if queue != "" {
			members = members[rand.IntN(len(members)):][:1]
		}
		for _, s := range members { // each waits for the handler, unless too much waits
			switch c := *m; {
			case len(s.waiting) < s.Pending && (len(s.waiting) == 0 || s.bytes+len(m.Data) <= s.PendingBytes):
				c.Data = slices.Clone(m.Data)
				s.waiting, s.bytes = append(s.waiting, &c), s.bytes+len(m.Data)
				s.changed.Signal()
			case s.Dropped != nil:
				go s.Dropped(1)
			}
		}
	}
	return len(found) > 0
}

// run hands out what waits, until the subscription is over.
func (s *sub) run() {
	defer close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.over || len(s.waiting) > 0 {
		if len(s.waiting) == 0 {
			s.changed.Wait()
			continue
		}
		m := s.waiting[0]
		s.waiting, s.bytes = s.waiting[1:], s.bytes-len(m.Data)
		s.mu.Unlock()
		s.Handler(m)
		s.mu.Lock()
	}
}

func (l *Loop) Subscribe(o service.Subscribe) (service.Subscription, error) {
	o.Pending, o.PendingBytes = cmp.Or(o.Pending, service.DefaultPending), cmp.Or(o.PendingBytes, service.DefaultPendingBytes)
	s := &sub{Subscribe: o, Loop: l, changed: sync.NewCond(&l.mu), done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := cmp.Or(service.CheckSubject(o.Subject, true), l.err)
	if err == nil {
		l.subs = append(l.subs, s)
		go s.run()
	}
	return s, err
}

func (s *sub) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx)
	return nil
}

func (s *sub) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.subs = slices.DeleteFunc(s.subs, func(o *sub) bool { return o == s })
	s.over = true
	s.changed.Signal()
	s.mu.Unlock()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = nil
	return ctx.Err()
}

func (l *Loop) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.err, ctx.Err())
}

func (l *Loop) Close() error {
	l.mu.Lock()
	subs := slices.Clone(l.subs)
	l.err = service.ErrBusClosed
	l.mu.Unlock()
	for _, s := range subs {
		if s.Loop == l {
			s.Close()
		}
	}
	return nil
}
