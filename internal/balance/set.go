// Package balance chooses one of several targets for each call, and keeps what decides
// about that: which targets can be reached, how many calls each has in flight, and which
// failed so often that they are left out for a while. It does no I/O and starts no goroutines.
package balance

import (
	"sync"
	"sync/atomic"
	"time"
)

// Strategy says which of the targets that can be used is picked.
type Strategy int

const (
	// RoundRobin picks one after the other.
	RoundRobin Strategy = iota
	// LeastInFlight picks one that has the fewest calls in flight, and of several such ones another each time. With more than
	// 16 targets it compares 16 of them, other ones each time.
	LeastInFlight
	// Sticky picks the same one for the same key, by rendezvous hashing: when a target can't be used, only its own keys go to others,
	// evenly, and come back with it. All processes that have the same ids agree. Calls without a key go round robin. A pick takes about
	// 2 ns for each target.
	Sticky
)

// The defaults of Options.
const (
	DefaultFailures = 5
	DefaultPause    = time.Second
	DefaultMaxPause = 30 * time.Second
)

// Options are the options of New. The zero value means the defaults.
type Options struct {
	// Strategy is how targets are picked. Default: RoundRobin.
	Strategy Strategy
	// Failures is how many calls to a target have to fail in a row for its breaker to open: it is left out then. Default:
	// DefaultFailures. If it is negative, breakers never open.
	Failures int
	// Pause is how long after that it is picked once, to see. It doubles each time that fails. Default: DefaultPause.
	Pause time.Duration
	// MaxPause is the longest pause. Default: DefaultMaxPause, or Pause if that is longer.
	MaxPause time.Duration
	// Now is the time, and must never go back. It is called only while a breaker is open. Default: time.Now.
	Now func() time.Time
}

// Set is some targets to pick from. All methods may be called concurrently.
type Set struct {
	o     Options
	begun time.Time
	view  atomic.Pointer[view]
	_     [64]byte // next changes with each pick, the rest hardly ever
	next  atomic.Uint64
	_     [64]byte

	mu      sync.Mutex // held to change a target's state, and while that is published
	targets []*Target
}

// view is what Pick looks at: the targets by their state. It is replaced, never changed.
type view struct {
	all   []*Target
	ready []*Target // up, and the breaker is closed
	open  []*Target // up, and the breaker is open
}

// New returns a Set without targets.
func New(o Options) *Set {
	if o.Failures == 0 {
		o.Failures = DefaultFailures
	}
	if o.Pause <= 0 {
		o.Pause = DefaultPause
	}
	if o.MaxPause <= 0 {
		o.MaxPause = DefaultMaxPause
	}
	o.MaxPause = max(o.MaxPause, o.Pause)
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Set{o: o, begun: o.Now()}
	s.view.Store(&view{})
	return s
}

// Update says which targets there are: those with these ids, of which one that comes twice counts once. A target that was there
// keeps its state. A new one is down until its Up is called. It returns the targets that are new, and those that are gone: they aren't
// picked any more, but calls in flight may still be ended.
func (s *Set) Update(ids []string) (added, removed []*Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := make(map[string]*Target, len(s.targets))
	for _, t := range s.targets {
		gone[t.id] = t
	}
	seen := make(map[string]bool, len(ids))
	targets := make([]*Target, 0, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		t := gone[id]
		if t == nil {
			t = &Target{id: id, hash: hash(id), set: s}
			added = append(added, t)
		}
		targets = append(targets, t)
	}
	for _, t := range s.targets {
		if !seen[t.id] {
			removed = append(removed, t)
		}
	}
	s.targets = targets
	s.publish()
	return added, removed
}

// Targets returns the targets in the order of Update. It must not be changed.
func (s *Set) Targets() []*Target { return s.view.Load().all }

// publish makes a view of the targets. It is called with the lock held.
func (s *Set) publish() {
	v := &view{all: s.targets}
	for _, t := range s.targets {
		switch {
		case !t.up:
		case t.open:
			v.open = append(v.open, t)
		default:
			v.ready = append(v.ready, t)
		}
	}
	s.view.Store(v)
}

// clock returns the time since the Set was made.
func (s *Set) clock() time.Duration { return s.o.Now().Sub(s.begun) }
