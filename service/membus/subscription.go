package membus

import (
	"context"
	"sync"

	"github.com/go-flyrpc/flyrpc/service"
)

// subscription is one of Bus.Subscribe.
type subscription struct {
	bus            *Bus
	subject, queue string
	line           line[*service.Message]
	dropped        func(n uint64)

	mu      sync.Mutex
	lost    uint64 // and not told
	telling bool
}

// push has m handled.
func (s *subscription) push(m *service.Message) {
	if !s.line.push(m, len(m.Data)) || s.dropped == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost++
	if !s.telling {
		s.telling = true
		go s.tell()
	}
}

// tell tells how many messages were dropped.
func (s *subscription) tell() {
	for {
		s.mu.Lock()
		n := s.lost
		s.lost = 0
		s.telling = n > 0
		s.mu.Unlock()
		if n == 0 {
			return
		}
		s.dropped(n)
	}
}

// leave takes the subscription off the bus.
func (s *subscription) leave() {
	s.bus.forget(s)
	b := s.bus.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tree.remove(s)
}

// Close implements service.Subscription.
func (s *subscription) Close() error {
	s.leave()
	s.line.close()
	return nil
}

// Drain implements service.Subscription.
func (s *subscription) Drain(ctx context.Context) error {
	s.leave()
	select {
	case <-s.line.drain():
		return nil
	case <-ctx.Done():
		s.line.close()
		return ctx.Err()
	}
}
