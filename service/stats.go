package service

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats are what has gone wrong around a service's calls since it was made, and what it has bound.
type Stats struct {
	// Late is how many parts of answers came for calls that had ended: after a timeout, or from an instance that wasn't the
	// first to answer.
	Late uint64
	// Lost is how many calls failed because the bus had lost a part of them, so far as this side noticed.
	Lost uint64
	// Malformed is how many messages of the bus were none of FlyRPC's, or broken.
	Malformed uint64
	// Dropped is how many messages the bus dropped because too many waited for this service.
	Dropped uint64
	// Endpoints are the bindings that are open.
	Endpoints []Endpoint
}

// counters are those of a service.
type counters struct {
	late, lost, malformed, dropped atomic.Uint64
	warned                         atomic.Int64 // when a malformed message was last logged, in Unix nanoseconds
	awaited                        atomic.Bool
}

// Stats returns the numbers as they are now.
func (s *Service) Stats() Stats {
	return Stats{
		Late: s.stats.late.Load(), Lost: s.stats.lost.Load(), Malformed: s.stats.malformed.Load(),
		Dropped: s.stats.dropped.Load(), Endpoints: s.endpoints(),
	}
}

// malformed counts a message that isn't understood, and logs one a second.
func (s *Service) malformed(m *Message, err error) {
	s.stats.malformed.Add(1)
	now, last := time.Now().UnixNano(), s.stats.warned.Load()
	if now-last >= int64(time.Second) && s.stats.warned.CompareAndSwap(last, now) {
		s.opts.Logger.Warn("service: a message of the bus is ignored", "subject", m.Subject, "bytes", len(m.Data), "error", err)
	}
}

// slow counts messages that the bus has dropped for a subscription.
func (s *Service) slow(n uint64) {
	s.stats.dropped.Add(n)
	s.opts.Logger.Warn("service: slow consumer: the bus has dropped messages", "service", s.name, "messages", n)
}

// endpointStats are those of a binding.
type endpointStats struct {
	requests, errors, dropped atomic.Uint64
	busy                      atomic.Int64
	mu                        sync.Mutex
	last                      string
}

// note counts a request that has ended with an answer.
func (e *endpointStats) note(took time.Duration, p *packet) {
	e.busy.Add(int64(took))
	if len(p.code) == 0 {
		return
	}
	e.errors.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = string(p.code)
}

// endpoints returns what is bound.
func (s *Service) endpoints() []Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Endpoint{}
	for b := range s.bindings {
		list = append(list, b.endpoints()...)
	}
	return list
}

// busyTime returns how long handlers took that have answered.
func (e *endpointStats) busyTime() time.Duration { return time.Duration(e.busy.Load()) }
