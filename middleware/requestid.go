package middleware

import (
	"context"
	"crypto/rand"

	"github.com/go-flyrpc/flyrpc"
)

// DefaultRequestIDKey is the key of metadata that RequestID and SendRequestID use if they are given none.
const DefaultRequestIDKey = "request-id"

// maxRequestID is the most bytes of a request id that is taken from a caller.
const maxRequestID = 64

// RequestID returns a Middleware that gives each call an id: the one in the caller's metadata under key, if it is 1
// to 64 bytes of printable ASCII without spaces, or else one made at random. Handlers read it with RequestIDOf, Logger
// writes it, SendRequestID sends it on, and the reply's metadata has it under the same key. An empty key means
// DefaultRequestIDKey. An id is the caller's word: it proves nothing.
func RequestID(key string) flyrpc.Middleware {
	key = orDefault(key, DefaultRequestIDKey)
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			id := ctx.Meta().Get(key)
			if !validRequestID(id) {
				id = rand.Text()
			}
			_ = ctx.SetMeta(key, id) // no room: the reply goes without
			note(ctx, func(n *notes) { n.requestID = id })
			return next(withValue(ctx, requestIDKey, id))
		}
	}
}

// SendRequestID returns an Interceptor that puts the id of the context of a call into its metadata under key, so that
// what a handler calls with its own Context has the handler's id. A context without an id sends none. An empty key means
// DefaultRequestIDKey.
func SendRequestID(key string) flyrpc.Interceptor {
	key = orDefault(key, DefaultRequestIDKey)
	return func(next flyrpc.Invoker) flyrpc.Invoker {
		return func(ctx context.Context, call *flyrpc.Outgoing) error {
			if id := RequestIDOf(ctx); id != "" {
				ctx = flyrpc.WithMeta(ctx, key, id)
			}
			return next(ctx, call)
		}
	}
}

// RequestIDOf returns the id that RequestID has given to the call that ctx belongs to, or WithRequestID to ctx, or "".
func RequestIDOf(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// WithRequestID returns a context with an id, for SendRequestID where a chain of calls begins.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey, id)
}

// validRequestID reports whether an id of a caller is taken.
func validRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// orDefault returns s, or def if s is empty.
func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
