package flyrpc

import (
	"context"
	"fmt"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// connected takes a connection whose handshake is done into the open ones and has
// OnConnect run for it, once.
func (s *Server) connected(c *Conn) {
	c.opened.Do(func() {
		s.met.Store(true)
		s.mu.Lock()
		onConnect, stopping := s.onConnect, s.stopping
		if onConnect == nil {
			s.open[c] = struct{}{}
		}
		s.mu.Unlock()
		if stopping {
			c.sayBye(Errorf(Unavailable, "the server is shutting down"))
		}
		if onConnect != nil {
			c.greeted = make(chan struct{})
			s.ep.workers.Go(connectTask{s, c, onConnect}, nil)
		}
	})
}

// greets reports whether OnConnect is set.
func (s *Server) greets() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onConnect != nil
}

// connectTask runs OnConnect for a connection.
type connectTask struct {
	s *Server
	c *Conn
	f func(*Context) error
}

// Run runs OnConnect and then lets the connection's packets through, or refuses it.
func (t connectTask) Run(*pool.Worker) {
	in := t.c.bareIncoming()
	handler := func(ctx *Context) (any, error) { return nil, t.f(ctx) }
	in.route = &route{path: "OnConnect", handler: handler}
	t.c.in.join(in)
	var err error = Errorf(HandlerPanic, "OnConnect didn't return") // it may end the goroutine
	defer func() { t.done(in, err) }()
	_, err = in.invoke()
}

// done lets the connection's packets through, or refuses it.
func (t connectTask) done(in *incoming, err error) {
	c := t.c
	defer close(c.greeted)
	in.end()
	if err != nil {
		c.refuse(err)
		return
	}
	t.s.mu.Lock()
	t.s.open[c] = struct{}{}
	t.s.mu.Unlock()
	for _, in := range c.in.ungate() {
		c.run(in, false)
	}
}

// bareIncoming returns what a handler's Context needs where there is no packet.
func (c *Conn) bareIncoming() *incoming {
	in := &incoming{conn: c, at: c.age()}
	in.context.in = in
	in.body = body{ser: c.ep.v1ser}
	return in
}

// refuse closes a connection that OnConnect has refused with err, which its client gets to
// know.
func (c *Conn) refuse(err error) {
	w := c.ep.errors.toWire(err)
	c.fitError(&w)
	c.refused.Store(&w)
	c.drain()
	c.sayBye(err)
	c.refuseHeld(err)
	ctx, cancel := context.WithTimeout(context.Background(), c.ep.limits.writeTimeout)
	defer cancel()
	c.byeHeard(ctx, lingerFor)
	c.refuseHeld(err) // the reader was about to hold one more
	c.linger(ctx, fmt.Errorf("flyrpc: OnConnect refused the connection: %w", err))
}

// refuseHeld answers the requests that OnConnect has held up with err.
func (c *Conn) refuseHeld(err error) {
	for _, in := range c.in.takeHeld() {
		if in.flag&FlagWait != 0 && in.claimReply() {
			in.respondError(err, true)
		}
	}
}
