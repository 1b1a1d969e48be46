package flyrpc

import (
	"context"
	"errors"
)

// Refuse returns a copy of err for a Middleware that returns it without having called the next Handler: the caller
// is told that the request was not processed, so that Outcome says NotProcessed there and it may be repeated. That
// holds for this request alone, and also if other middleware wraps the error: whoever gets it from elsewhere and returns it says
// nothing about its own. A version 1 peer isn't told. err must not be nil.
func (c *Context) Refuse(err *Error) *Error {
	refused := *err
	refused.refused = c.in
	return &refused
}

// refuses reports whether err is a refusal of in. The error's own methods may panic.
func (in *incoming) refuses(err error) bool {
	defer func() { _ = recover() }()
	for e := firstError(err); e != nil; e = firstError(e.cause) { // it may be wrapped in an Error of its own
		if e.refused == in {
			return true
		}
	}
	return false
}

// firstError returns the first Error that err is or wraps, or nil. It takes no memory for what is an Error itself.
func firstError(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	var e *Error
	errors.As(err, &e)
	return e
}

// CodeOf returns the code that err has on the wire when a Handler returns it: its own, the one that ServerOpts.Errors or
// ClientOpts.Errors have for it, or Failed. It is empty if err is nil.
func (c *Context) CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return c.in.toWire(err).code
}

// Size returns the number of bytes that the message has, not compressed and without metadata. Items don't count.
func (c *Context) Size() int { return len(c.in.body.data) }

// WithDelivery returns a copy of e for an Interceptor, which says how far the call has come: NotSent, if it didn't
// pass it on. It means nothing to the caller of a Handler that returns e; for that see Context.Refuse.
func (e *Error) WithDelivery(d Delivery) *Error {
	c := *e
	c.delivery = d
	return &c
}

// IsIdempotent reports whether ctx is of WithIdempotent, or derived from one that is: an Interceptor may repeat its calls though it is
// unknown whether they were executed.
func IsIdempotent(ctx context.Context) bool {
	v, ok := ctx.Value(outgoingKey).(*outgoingValues)
	return ok && v.idempotent
}
