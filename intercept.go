package flyrpc

import (
	"context"
)

// Outgoing is a call or message on its way out, as interceptors see it. They may
// change its fields before they pass it on.
type Outgoing struct {
	// Conn is the connection it goes by.
	Conn *Conn
	// Path is where it goes.
	Path string
	// Message is what it carries; nil is nothing.
	Message any
	// Reply is the pointer that the answer is decoded into, or nil if nobody wants it.
	Reply any
	// OneWay means that it is a message, which has no answer.
	OneWay bool
	// Streams means that it opens a Stream. The innermost Invoker returns when the request has been
	// sent; Reply is nil.
	Streams bool

	queued   func()  // called when it is queued to be written, or nil
	receives bool    // the caller of the Stream sends no items
	stream   *Stream // that was opened
}

// Invoker sends a call or message and, for a call, waits for its answer.
type Invoker func(ctx context.Context, call *Outgoing) error

// Interceptor wraps an Invoker: it may look, change, repeat or refuse.
type Interceptor func(next Invoker) Invoker

// intercept chains interceptors, the first one outermost, or returns nil if there
// are none.
func intercept(chain []Interceptor) Invoker {
	if len(chain) == 0 {
		return nil
	}
	next := Invoker(func(ctx context.Context, call *Outgoing) error { return call.Conn.invoke(ctx, call) })
	for i := len(chain) - 1; i >= 0; i-- {
		next = chain[i](next)
	}
	return next
}

// intercepted passes a call or message through the interceptors, if there are any.
func (c *Conn) intercepted(ctx context.Context, call *Outgoing) error {
	if c.ep.invoke != nil {
		return c.ep.invoke(ctx, call)
	}
	return c.invoke(ctx, call)
}

// invoke does what the innermost Invoker does.
func (c *Conn) invoke(ctx context.Context, call *Outgoing) error {
	switch {
	case call.OneWay:
		return c.send(ctx, call)
	case call.Streams:
		return c.open(ctx, call)
	}
	return c.roundTrip(ctx, call)
}
