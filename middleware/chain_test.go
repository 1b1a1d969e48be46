package middleware_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

func TestChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		named := func(name string) flyrpc.Middleware {
			return func(next flyrpc.Handler) flyrpc.Handler {
				return func(ctx *flyrpc.Context) (any, error) {
					order = append(order, name)
					return next(ctx)
				}
			}
		}
		chain := []flyrpc.Middleware{named("a"), middleware.Chain(), named("b")}
		all := middleware.Chain(chain...)
		chain[0] = nil // the caller's again
		srv := newServer(t, nil)
		srv.With(all, named("c")).OnMessage("/x", func() {})
		cli := newClient(t, srv, nil)
		if err := cli.Call(t.Context(), "/x", nil, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(order, ""); got != "abc" {
			t.Errorf("called in the order %s", got)
		}
		wantPanic(t, "Middleware 2 is nil", func() { middleware.Chain(named("a"), nil) })
		nothing := func(flyrpc.Handler) flyrpc.Handler { return nil }
		wantPanic(t, "returns nil", func() { srv.Use(middleware.Chain(named("a"), nothing)) })
	})
}

func ExampleChain() {
	shout := func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			reply, err := next(ctx)
			if s, ok := reply.(string); ok {
				reply = strings.ToUpper(s) + "!"
			}
			return reply, err
		}
	}
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.Use(middleware.Chain(middleware.RequestID(""), shout))
	srv.OnMessage("/greet", func(name string) string { return "hello, " + name })
	cli := connect(srv, nil)
	defer cli.Close()

	var greeting string
	err := cli.Call(ctx, "/greet", "Ada", &greeting)
	fmt.Println(greeting, err)
	// Output: HELLO, ADA! <nil>
}
