package middleware

import (
	"context"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

// key is the type of what this package keeps in contexts.
type key int

const (
	notesKey     key = iota // *notes
	requestIDKey            // string
	principalKey            // *Principal
)

// valueContext is a handler's Context with one value more.
type valueContext struct {
	*flyrpc.Context
	key   key
	value any
}

// Value returns the value for its own key, and the Context's for others.
func (c valueContext) Value(k any) any {
	if k == c.key {
		return c.value
	}
	return c.Context.Value(k)
}

// withValue returns ctx with a value more.
func withValue(ctx *flyrpc.Context, k key, v any) *flyrpc.Context {
	return ctx.WithContext(valueContext{ctx, k, v})
}

// notes is what the middleware inside of Logger lets it know about a call.
type notes struct {
	mu        sync.Mutex
	requestID string
	principal *Principal
}

// note changes the notes of the call that ctx belongs to, if somebody takes them.
func note(ctx context.Context, change func(*notes)) {
	if n, ok := ctx.Value(notesKey).(*notes); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		change(n)
	}
}

// read returns what was noted.
func (n *notes) read() (requestID string, p *Principal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.requestID, n.principal
}
