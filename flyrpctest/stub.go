package flyrpctest

import (
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc"
)

// Reply returns a handler that answers with message, whatever comes.
func Reply(message any) flyrpc.Handler {
	return func(*flyrpc.Context) (any, error) { return message, nil }
}

// Fail returns a handler that answers with err, whatever comes.
func Fail(err error) flyrpc.Handler {
	return func(*flyrpc.Context) (any, error) { return nil, err }
}

// Hang returns a handler that answers only when its Context has ended.
func Hang() flyrpc.Handler {
	return func(ctx *flyrpc.Context) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

// InTurn returns a handler that lets the first of handlers handle the first call, the second one the second, and so
// on; the last one handles all that follow. It panics without handlers.
func InTurn(handlers ...flyrpc.Handler) flyrpc.Handler {
	if len(handlers) == 0 {
		panic("flyrpctest: InTurn: no handlers are given")
	}
	var next atomic.Int64
	return func(ctx *flyrpc.Context) (any, error) {
		return handlers[min(int(next.Add(1)), len(handlers))-1](ctx)
	}
}
