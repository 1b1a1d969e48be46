package flyrpc

import (
	"context"
	"errors"
	"io"
	"reflect"

	"github.com/go-flyrpc/flyrpc/internal/adapt"
)

// MessageHandler is a function that handles the messages and calls of a path. Its
// parameters, in any order and number, are out of
//
//   - *Context, and context.Context, which is the same one;
//   - *Packet, as Context.Packet returns it;
//   - the message, at most one: *T, which is never nil, or T, of any type but a
//     channel, a function, an unsafe pointer or an interface other than any. It is
//     decoded before the function is called; if it can't be, the call fails
//     without having called it;
//   - []byte and string. Beside a message they are the body as it came. Without
//     one they are themselves the message: what came raw as it is, and anything
//     else decoded;
//   - one of iter.Seq2[T, error], io.Reader and *Stream: the items that the caller sends. The
//     sequence ends with the first error, and breaking out of it drops what is left. The reader
//     reads raw items and, if the caller sends no items and there is no parameter for the
//     message, the message as it came.
//
// Its results are nothing, an error, a message, or a message and an error, where the
// message is *T, T, []byte, string or an interface. With an error that isn't nil the
// message is dropped. A nil pointer or interface is a nil message; a nil []byte is
// an empty one.
//
// A message that is an iter.Seq2[T, error] or an io.Reader is sent in items, within the Handler, so that
// middleware sees the whole of it. The call ends when the sequence does, or with the error it yields, whose item
// is dropped; when sending fails, because the caller has given up, yield returns false. A reader that is an
// io.Closer is closed.
//
// It is called concurrently, unless its route has an option that says otherwise. A
// function whose type is any other makes OnMessage panic.
type MessageHandler = any

// Handler is what every MessageHandler becomes. Whoever calls one looks at the
// message only if the error is nil.
type Handler func(*Context) (any, error)

// Middleware wraps a Handler: it returns one that does something before and after,
// or instead. It is called when a route is made, not for each packet: once for each
// route, and once more for each Use that changes the route's middleware. It must not
// return nil, nor use the Router it is given to while it runs.
type Middleware func(Handler) Handler

// newHandler makes a Handler of a function. The error says what is wrong with it.
func newHandler(h MessageHandler) (Handler, *adapt.Plan, error) {
	fn := reflect.ValueOf(h)
	plan, err := newPlan(fn)
	if err != nil {
		return nil, nil, err
	}
	if direct := directHandler(h); direct != nil {
		return direct, plan, nil
	}
	return bindPlan(plan, fn), plan, nil
}

// NewHandler makes a Handler of a function that has one of the shapes of a MessageHandler, but neither takes nor sends items, for
// programs that call handlers themselves from one of their own. The error says what is wrong with the function.
func NewHandler(h MessageHandler) (Handler, error) {
	handler, plan, err := newHandler(h)
	if err == nil && (plan.Takes || plan.Yields) {
		err = errors.New("the handler takes or sends items, for which it needs a route of its own")
	}
	if err != nil {
		return nil, err
	}
	return handler, nil
}

// newPlan finds out how to call a function.
func newPlan(fn reflect.Value) (*adapt.Plan, error) {
	return adapt.New(fn, adapt.Types{
		Context: reflect.TypeFor[*Context](), Packet: reflect.TypeFor[*Packet](), Stream: reflect.TypeFor[*Stream](),
	})
}

// bindPlan makes a Handler of any function and its plan.
func bindPlan(plan *adapt.Plan, fn reflect.Value) Handler {
	return adapt.Bind(plan, fn, adapt.Source[*Context, *Packet, *Stream]{
		Decode: (*Context).Decode,
		Packet: (*Context).Packet,
		Body:   func(c *Context) []byte { return c.Packet().Payload },
		Stream: (*Context).openStream,
		Reader: func(c *Context) io.Reader { return c.reader(plan.Message == nil) },
		Recv:   func(c *Context, v any) error { return c.openStream().Recv(v) },
		Stop:   func(c *Context) { c.openStream().Close() },
		Send:   func(c *Context, v any) error { return c.openStream().Send(v) },
	})
}

// directHandler returns a Handler that calls h without reflection, or nil if h is of
// none of the common types that have one.
func directHandler(h MessageHandler) Handler {
	switch f := h.(type) {
	case Handler:
		return sendsReaders(f)
	case func(*Context) (any, error):
		return sendsReaders(f)
	case func(*Context) error:
		return func(c *Context) (any, error) { return nil, f(c) }
	case func(*Context):
		return func(c *Context) (any, error) { f(c); return nil, nil }
	case func(context.Context) error:
		return func(c *Context) (any, error) { return nil, f(c) }
	case func(*Packet) error:
		return func(c *Context) (any, error) { return nil, f(c.Packet()) }
	case func() error:
		return func(*Context) (any, error) { return nil, f() }
	case func():
		return func(*Context) (any, error) { f(); return nil, nil }
	}
	if direct := rawHandler[[]byte](h); direct != nil {
		return direct
	}
	return rawHandler[string](h)
}

// sendsReaders wraps a Handler that may return an io.Reader.
func sendsReaders(h Handler) Handler {
	if h == nil {
		return nil
	}
	return func(c *Context) (any, error) {
		m, err := h(c)
		if r, ok := m.(io.Reader); ok && err == nil {
			return nil, adapt.SendReader(c, r, func(c *Context, v any) error { return c.openStream().Send(v) })
		}
		return m, err
	}
}

// rawHandler is directHandler for functions that take a []byte or a string.
func rawHandler[T []byte | string](h MessageHandler) Handler {
	switch f := h.(type) {
	case func(*Context, T) (T, error):
		return func(c *Context) (any, error) {
			m, err := decodeRaw[T](c)
			if err != nil {
				return nil, err
			}
			return rawReply(f(c, m))
		}
	case func(T) (T, error):
		return func(c *Context) (any, error) {
			m, err := decodeRaw[T](c)
			if err != nil {
				return nil, err
			}
			return rawReply(f(m))
		}
	case func(*Context, T) error:
		return func(c *Context) (any, error) {
			m, err := decodeRaw[T](c)
			if err != nil {
				return nil, err
			}
			return nil, f(c, m)
		}
	case func(T) error:
		return func(c *Context) (any, error) {
			m, err := decodeRaw[T](c)
			if err != nil {
				return nil, err
			}
			return nil, f(m)
		}
	case func(T):
		return func(c *Context) (any, error) {
			m, err := decodeRaw[T](c)
			if err == nil {
				f(m)
			}
			return nil, err
		}
	}
	return nil
}

// decodeRaw returns the message of a function that takes a []byte or a string.
func decodeRaw[T []byte | string](c *Context) (m T, err error) {
	err = c.Decode(&m)
	return m, err
}

// rawReply drops a message that comes with an error.
func rawReply[T []byte | string](m T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}
