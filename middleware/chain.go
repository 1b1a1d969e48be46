package middleware

import (
	"fmt"

	"github.com/go-flyrpc/flyrpc"
)

// Chain returns a Middleware that does what all of those given do, the first one outermost. It panics if
// one is nil. Without any, it does nothing.
func Chain(middleware ...flyrpc.Middleware) flyrpc.Middleware {
	chain := append([]flyrpc.Middleware(nil), middleware...)
	for i, m := range chain {
		if m == nil {
			panic(fmt.Sprintf("middleware: Chain: Middleware %d is nil", i+1))
		}
	}
	return func(next flyrpc.Handler) flyrpc.Handler {
		for i := len(chain) - 1; i >= 0 && next != nil; i-- {
			next = chain[i](next)
		}
		return next
	}
}
