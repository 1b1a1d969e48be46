package flyrpc

import (
	"context"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// Pending is a call that Go has started.
type Pending struct {
	done chan struct{}
	err  error
}

// Done returns a channel that is closed when the call has ended and its reply is
// decoded.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Err waits for the end of the call and returns what Call would have.
func (p *Pending) Err() error {
	<-p.done
	return p.err
}

// Go starts a call and doesn't wait for its answer. Calls that one goroutine starts so
// are sent in that order, unless interceptors change it or they carry an io.Reader. It waits, like Call, while the other end takes no
// more calls. reply belongs to the call until it has ended.
func (c *Conn) Go(ctx context.Context, path string, message, reply any) *Pending {
	p := &Pending{done: make(chan struct{})}
	call := &Outgoing{Conn: c, Path: path, Message: message, Reply: reply}
	if invoke := c.ep.invoke; invoke != nil || call.readers() {
		if invoke == nil {
			invoke = c.roundTrip
		}
		c.ep.workers.Go(pendingTask{p, func() error { return invoke(ctx, call) }}, nil)
		return p
	}
	s, err := c.start(ctx, call)
	if err != nil {
		p.err = err
		close(p.done)
		return p
	}
	c.ep.workers.Go(pendingTask{p, func() error { return c.finish(ctx, s, call) }}, nil)
	return p
}

// pendingTask waits for the end of a call on a worker.
type pendingTask struct {
	p *Pending
	f func() error
}

// Run ends the Pending with the error of f.
func (t pendingTask) Run(*pool.Worker) {
	defer close(t.p.done)
	t.p.err = localErr(Internal, Unknown, nil, "an interceptor or the serializer ended the call's goroutine")
	defer func() {
		if r := recover(); r != nil {
			t.p.err = localErr(Internal, Unknown, nil, "an interceptor or the serializer panicked: %v", r)
		}
	}()
	t.p.err = t.f()
}

// Go starts a call, connecting first if the client isn't connected; see Conn.Go. message must stay as it is until the call has ended, as it may
// be made again.
func (c *Client) Go(ctx context.Context, path string, message, reply any) *Pending {
	p := &Pending{done: make(chan struct{})}
	call := &Outgoing{Path: path, Message: message, Reply: reply}
	if c.ep.invoke != nil || call.readers() || c.hedges(ctx, call) {
		c.ep.workers.Go(pendingTask{p, func() error { return c.Call(ctx, path, message, reply) }}, nil)
		return p
	}
	g := &started{c: c, call: call}
	e := &errand{path: path, message: message, opens: true, do: g.start}
	conn, t := c.ready(ctx)
	var err error
	if conn != nil {
		err = c.do(ctx, e, conn, t, nil)
	}
	if conn == nil || err != nil {
		err = c.persist(ctx, e, conn, t, err)
	}
	if err != nil {
		p.err = err
		close(p.done)
		return p
	}
	c.ep.workers.Go(pendingTask{p, func() error { return g.finish(ctx) }}, nil)
	return p
}

// started is a call of a client that Go has started.
type started struct {
	c    *Client
	call *Outgoing
	conn *Conn
	t    *balance.Target
	s    *slot

	begun time.Time
}

// start sends the call.
func (g *started) start(ctx context.Context, conn *Conn, t *balance.Target, queued func()) (err error) {
	g.conn, g.t, g.begun = conn, t, g.c.begun(ctx)
	g.call.Conn, g.call.queued = conn, queued
	g.s, err = conn.start(ctx, g.call)
	return err
}

// finish waits for the answer, and makes the call again if that is to be.
func (g *started) finish(ctx context.Context) error {
	err := g.await(ctx)
	if err == nil {
		return nil
	}
	return g.c.persist(ctx, g.c.callErrand(ctx, g.call.Path, g.call.Message, g.call.Reply), g.conn, g.t, err)
}

// await waits for the answer.
func (g *started) await(ctx context.Context) (err error) {
	if g.t != nil {
		err = errPanicked
		defer func() { g.c.account(g.t, g.conn, g.begun, err) }()
	}
	return g.conn.finish(ctx, g.s, g.call)
}
