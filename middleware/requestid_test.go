package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

func TestRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, nil)
		srv.Use(middleware.RequestID("id"))
		srv.OnMessage("/x", func(ctx context.Context) string { return middleware.RequestIDOf(ctx) })
		srv.OnMessage("/fails", func(ctx context.Context) error { return flyrpc.Errorf("X", "%s", middleware.RequestIDOf(ctx)) })
		cli := newClient(t, srv, nil)
		made := map[string]bool{}
		for _, tt := range []struct {
			given string
			taken bool
		}{
			{"r-1", true},
			{strings.Repeat("x", 64), true},
			{"", false},
			{strings.Repeat("x", 65), false},
			{"a b", false},
			{"a\nb", false},
			{"é", false},
			{"\x7f", false},
		} {
			var meta flyrpc.Metadata
			ctx := flyrpc.WithReplyMeta(flyrpc.WithMeta(t.Context(), "id", tt.given), &meta)
			got, err := flyrpc.Call[string](ctx, cli, "/x", nil)
			if err != nil || meta.Get("id") != got || (got == tt.given) != tt.taken || len(got) < 3 || made[got] {
				t.Errorf("%q: %q, %v, replied with %q", tt.given, got, err, meta)
			}
			made[got] = true
		}
		var meta flyrpc.Metadata
		err := cli.Call(flyrpc.WithReplyMeta(t.Context(), &meta), "/fails", nil, nil)
		if e, ok := err.(*flyrpc.Error); !ok || meta.Get("id") == "" || e.Message != meta.Get("id") {
			t.Errorf("%v, with %q", err, meta)
		}
	})
}

// TestSendRequestID: what a handler calls has its id, in both directions and through a service between.
func TestSendRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "trace"
		id := func(ctx context.Context) string { return middleware.RequestIDOf(ctx) }
		last := newServer(t, nil)
		last.Use(middleware.RequestID(key))
		last.OnMessage("/last", id)
		last.OnMessage("/items", func(ctx context.Context, s *flyrpc.Stream) error { return s.Send(id(ctx)) })
		toLast := newClient(t, last, intercept(middleware.SendRequestID(key)))
		first := newServer(t, nil)
		first.Use(middleware.RequestID(key))
		first.OnMessage("/first", func(ctx *flyrpc.Context) (string, error) {
			got, err := flyrpc.Call[string](ctx, toLast, "/last", nil)
			for item, err := range flyrpc.Receive[string](ctx, toLast, "/items", nil) {
				if err != nil {
					return "", err
				}
				got += " " + item
			}
			return got, err
		})
		cli := newClient(t, first, intercept(middleware.SendRequestID(key)))
		got, err := flyrpc.Call[string](middleware.WithRequestID(t.Context(), "abc"), cli, "/first", nil)
		if got != "abc abc" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if got, err := flyrpc.Call[string](t.Context(), cli, "/first", nil); len(got) != 53 || err != nil {
			t.Errorf("got %q, %v; want an id of 26 bytes, twice", got, err)
		}
	})
}

func ExampleRequestID() {
	store := flyrpc.NewServer(nil)
	defer store.Close()
	store.Use(middleware.RequestID(""))
	store.OnMessage("/save", func(ctx *flyrpc.Context) { fmt.Println("saving for", middleware.RequestIDOf(ctx)) })
	toStore := connect(store, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{middleware.SendRequestID("")}})
	defer toStore.Close()

	shop := flyrpc.NewServer(nil)
	defer shop.Close()
	shop.Use(middleware.RequestID(""))
	shop.OnMessage("/buy", func(ctx *flyrpc.Context) error { return toStore.Call(ctx, "/save", nil, nil) })
	cli := connect(shop, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{middleware.SendRequestID("")}})
	defer cli.Close()

	var answered flyrpc.Metadata
	ctx := middleware.WithRequestID(flyrpc.WithReplyMeta(ctx, &answered), "order-17")
	err := cli.Call(ctx, "/buy", nil, nil)
	fmt.Println(answered.Get(middleware.DefaultRequestIDKey), err)
	// Output:
	// saving for order-17
	// order-17 <nil>
}
