package flyrpc

import (
	"context"
	"sync"
)

// Shutdown closes the listeners, tells every client to open no new calls, lets the
// open calls end, in both directions, and closes the connections. New calls are answered
// UNAVAILABLE, not processed. When ctx ends, the handlers that still run are cancelled, their
// calls answered with UNAVAILABLE, and ctx's error is returned. It doesn't wait for handlers
// that go on regardless.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.closeEntrants()
	var wg sync.WaitGroup
	for _, c := range s.all() {
		wg.Go(func() { c.shutdown(ctx) })
	}
	wg.Go(func() { s.web.shutdown(ctx) })
	wg.Wait()
	s.awaitEnds(ctx)
	s.web.close()
	s.ep.workers.Close()
	return ctx.Err()
}

// all returns the accepted connections.
func (s *Server) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// awaitEnds waits until all connections have ended, OnDisconnect included.
func (s *Server) awaitEnds(ctx context.Context) {
	for {
		s.mu.Lock()
		n := len(s.conns) + len(s.entrants) + len(s.web.conns)
		s.mu.Unlock()
		if n == 0 {
			s.tellEnded() // another Shutdown may wait too
			return
		}
		select {
		case <-s.ended:
		case <-ctx.Done():
			return
		}
	}
}

// shutdown ends a connection in order, or at ctx's end.
func (c *Conn) shutdown(ctx context.Context) {
	c.drain()
	if c.isSilent() {
		c.close(ErrServerClosed)
		return
	}
	why := localErr(Unavailable, NotSent, ErrServerClosed, "the server is shutting down")
	if !c.busy() {
		c.leaving.Store(true) // the client may be leaving too
	}
	c.sayBye(why)
	c.awaitIdle(ctx, c.busy)
	if ctx.Err() == nil && c.Err() == nil {
		c.leaving.Store(true)
	}
	c.byeHeard(ctx, lingerFor)
	c.awaitIdle(ctx, c.busy)
	if ctx.Err() == nil {
		c.calls.stop(why)
		c.linger(ctx, ErrServerClosed)
		return
	}
	c.cutShort(why, ErrServerClosed)
}

// isSilent reports whether the version of the other end isn't known yet.
func (c *Conn) isSilent() bool {
	c.settling.Lock() // an answer to hello is queued before the mode is settled
	defer c.settling.Unlock()
	return c.mode.Load() == nil
}

// awaitIdle waits until nothing is open any more, the connection is closed, or ctx ends.
func (c *Conn) awaitIdle(ctx context.Context, open func() bool) {
	for open() && ctx.Err() == nil {
		select {
		case <-*c.drained.Load():
		case <-c.done:
			return
		case <-ctx.Done():
		}
	}
}

// busy reports whether calls are open in either direction, or messages are being handled.
func (c *Conn) busy() bool { return c.in.count() > 0 || c.calls.count() > 0 }

// cutShort answers the requests whose handlers still run, or wait to, with UNAVAILABLE, cancels them
// and closes the connection for a reason.
func (c *Conn) cutShort(why *Error, reason error) {
	c.proto.out.hurry()
	open := append(c.in.requests(), c.in.takeHeld()...)
	for _, in := range open {
		if !in.hasStarted() { // first those that would start when others end
			in.cutShort(why)
		}
	}
	for _, in := range open {
		in.cutShort(why)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lingerFor)
	defer cancel()
	c.linger(ctx, reason)
}

// requests returns the requests whose handlers run or wait.
func (b *inbox) requests() []*incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*incoming
	for _, in := range b.all() {
		if in.flag&FlagWait != 0 {
			all = append(all, in)
		}
	}
	return all
}

// cutShort cancels a request and answers it with why, unless it was answered.
func (in *incoming) cutShort(why *Error) {
	if in.flag&FlagWait == 0 {
		return
	}
	claimed := in.claimReply() // before the handler can answer with its end
	in.cancel(context.Canceled)
	if claimed {
		in.respondError(why, !in.hasStarted())
	}
}
