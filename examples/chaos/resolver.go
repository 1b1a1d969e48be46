package main

import (
	"context"
	"slices"
	"sync"
)

// resolver is a flyrpc.Resolver that is told the addresses. All methods may be called concurrently.
type resolver struct {
	mu      sync.Mutex
	addrs   []string
	changed chan struct{} // closed when they change
}

func newResolver(addrs []string) *resolver {
	return &resolver{addrs: addrs, changed: make(chan struct{})}
}

// set changes the addresses.
func (r *resolver) set(addrs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = slices.Clone(addrs)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Resolve tells the addresses whenever they change, until ctx ends.
func (r *resolver) Resolve(ctx context.Context, update func([]string)) error {
	for {
		r.mu.Lock()
		addrs, changed := r.addrs, r.changed
		r.mu.Unlock()
		update(addrs)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
