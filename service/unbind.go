package service

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"
)

// unbindTime is how long what an unbound binding has taken may take to end.
const unbindTime = 30 * time.Second

// Unbind ends the binding: nothing more is taken, and what was taken is handled to its end, for 30 s at most, after which its handlers are
// cancelled. It doesn't wait for that, and may be called any number of times, by the binding's handler too. Next returns ErrBindingClosed from then on, once
// nothing is left.
func (b *Binding) Unbind() {
	if b.leave() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), unbindTime)
			defer cancel()
			b.finish(ctx)
		}()
	}
}

// isUnbound reports whether Unbind was called.
func (b *Binding) isUnbound() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == unbound
}

// leave marks the binding as unbound and reports whether it was not.
func (b *Binding) leave() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == unbound {
		return false
	}
	b.state = unbound
	if b.stopCtx != nil {
		b.stopCtx()
	}
	close(b.closed)
	return true
}

// finish has what was taken handled, or cancelled when ctx ends.
func (b *Binding) finish(ctx context.Context) {
	defer func() {
		b.svc.mu.Lock()
		delete(b.svc.bindings, b)
		b.svc.mu.Unlock()
		close(b.finished)
	}()
	b.mu.Lock()
	subs, server := b.subs, b.server
	b.mu.Unlock()
	for _, s := range subs {
		_ = s.Drain(ctx)
	}
	if server == nil {
		return
	}
	_ = b.svc.await(ctx, b.busy)
	for _, l := range b.open() {
		select {
		case <-l.greeted: // a connection that doesn't know yet what it is isn't shut down in order
		case <-l.overC:
		case <-ctx.Done():
		}
	}
	if err := server.Shutdown(ctx); err != nil {
		server.Close()
	}
	b.serving.Wait()
}

// open returns the lanes.
func (b *Binding) open() []*lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.lanes))
}

// busy reports whether calls or large messages are under way.
func (b *Binding) busy() bool { return slices.ContainsFunc(b.open(), (*lane).busy) }

// Shutdown ends the service in order: its bindings take nothing more, what they have taken is handled and answered, its own calls end, and large messages
// it has sent are fetched. When ctx ends, what is left is cancelled, and ctx's error is returned. The bus stays open. Later calls return when the first
// one does, or their own ctx ends.
func (s *Service) Shutdown(ctx context.Context) error {
	bindings, stop := s.beginClose()
	if stop != nil {
		_ = stop()
	}
	for _, b := range bindings {
		if b.leave() {
			go b.finish(ctx)
		}
	}
	for _, b := range bindings {
		select {
		case <-b.finished:
		case <-ctx.Done():
		}
	}
	_ = s.await(ctx, s.calling)
	s.settleCalls(ctx)
	_ = s.bus.Flush(ctx)
	s.closeLinks()
	return ctx.Err()
}

// Close ends the service at once: open calls in both directions end with UNAVAILABLE, and handlers' contexts are cancelled. It doesn't wait for
// handlers. The bus stays open. It returns nil.
func (s *Service) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	bindings, stop := s.beginClose()
	if stop != nil {
		_ = stop()
	}
	for _, b := range bindings {
		first := b.leave()
		b.mu.Lock()
		subs, server := b.subs, b.server
		b.mu.Unlock()
		for _, sub := range subs {
			sub.Close()
		}
		if server != nil {
			server.Close()
		}
		if first {
			b.finish(ctx)
		}
	}
	s.closeLinks()
	return nil
}

// beginClose has nothing more bound or called, and returns what is bound, and what ends being announced.
func (s *Service) beginClose() (bindings []*Binding, stop func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for b := range s.bindings {
		bindings = append(bindings, b)
	}
	stop, s.stop = s.stop, nil
	return bindings, stop
}

// settleCalls waits until callers have the answers that their links have taken: a ping's answer comes behind those.
func (s *Service) settleCalls(ctx context.Context) {
	for _, e := range s.openLinks() {
		if ctx.Err() == nil {
			_, _ = e.client.Ping(0, s.opts.SendTimeout)
		}
	}
}

// openLinks returns the links.
func (s *Service) openLinks() []*linkEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.links))
}

// calling reports whether calls of this service are open, or large messages are to be fetched.
func (s *Service) calling() bool {
	return slices.ContainsFunc(s.openLinks(), func(e *linkEntry) bool { return e.link.open() > 0 })
}

// closeLinks ends the service's own calls and subscriptions.
func (s *Service) closeLinks() {
	s.mu.Lock()
	links, subs := s.links, s.subs
	s.links, s.subs = map[linkKey]*linkEntry{}, nil
	s.mu.Unlock()
	for _, e := range links {
		e.client.Close()
	}
	for _, sub := range subs {
		sub.Close()
	}
}

// failingDial returns a dial function that fails.
func failingDial(err error) func(context.Context, string) (net.Conn, error) {
	return func(context.Context, string) (net.Conn, error) { return nil, errors.Join(err, net.ErrClosed) }
}
