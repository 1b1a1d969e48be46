package flyrpc

import (
	"context"

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
