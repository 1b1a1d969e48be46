package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, nil)
		srv.OnMessage("/x", func(ctx *flyrpc.Context) string {
			token, ok := ctx.Meta()["token"]
			return strings.TrimRight(fmt.Sprintf("%s %v %s", token, ok, ctx.Meta().Get("own")), " ")
		})
		srv.OnMessage("/items", func(ctx *flyrpc.Context, s *flyrpc.Stream) error { return s.Send(ctx.Meta().Get("own")) })
		n := 0
		for _, tt := range []struct {
			name  string
			token flyrpc.Interceptor
			want  []string
			code  flyrpc.Code
		}{
			{"static", middleware.Token("", "abc"), []string{"abc true", "abc true"}, ""},
			{"empty", middleware.Token("", ""), []string{" false"}, ""},
			{"key", middleware.Token("own", "abc"), []string{" false abc"}, ""},
			{"function", middleware.TokenFunc("", func(context.Context) (string, error) { n++; return fmt.Sprint(n), nil }), []string{"1 true", "2 true"}, ""},
			{"error", middleware.TokenFunc("", func(context.Context) (string, error) { return "x", errors.New("no key") }), []string{""}, flyrpc.Unauthenticated},
			{"code", middleware.TokenFunc("", func(context.Context) (string, error) { return "", flyrpc.Busy }), []string{""}, flyrpc.Busy},
			{"context", middleware.TokenFunc("", func(context.Context) (string, error) { return "", context.DeadlineExceeded }), []string{""}, flyrpc.Timeout},
		} {
			cli := newClient(t, srv, intercept(tt.token))
			for _, want := range tt.want {
				got, err := flyrpc.Call[string](t.Context(), cli, "/x", nil)
				wantErr(t, err, tt.code, flyrpc.NotSent)
				if got != want {
					t.Errorf("%s: got %q, want %q", tt.name, got, want)
				}
			}
		}
		cli := newClient(t, srv, intercept(middleware.Token("own", "abc")))
		for item, err := range flyrpc.Receive[string](t.Context(), cli, "/items", nil) {
			if item != "abc" || err != nil {
				t.Error(item, err)
			}
		}
		wantPanic(t, "the source is nil", func() { middleware.TokenFunc("", nil) })
	})
}

func ExampleTokenFunc() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.OnMessage("/whoami", func(ctx *flyrpc.Context) string { return ctx.Meta().Get(middleware.DefaultTokenKey) })
	fresh := 0
	source := func(context.Context) (string, error) { // asks for a new token when the old one has ended, say
		fresh++
		return fmt.Sprint("token ", fresh), nil
	}
	cli := connect(srv, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{middleware.TokenFunc("", source)}})
	defer cli.Close()

	for range 2 {
		fmt.Println(flyrpc.Call[string](ctx, cli, "/whoami", nil))
	}
	// Output:
	// token 1 <nil>
	// token 2 <nil>
}
