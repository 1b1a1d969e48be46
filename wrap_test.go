package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// TestRefuse: the caller of a refused request is told that it was not processed, and nobody else.
func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept error
		srv := quietServer(t, nil)
		srv.Use(func(next Handler) Handler {
			return func(ctx *Context) (any, error) {
				m, err := next(ctx)
				if ctx.Path() == "/wrapped" {
					err = fmt.Errorf("around: %w", err)
				}
				if ctx.Path() == "/with a code" {
					err = Errorf(Busy, "around: %w", err)
				}
				return m, err
			}
		})
		refuse := srv.With(func(Handler) Handler {
			return func(ctx *Context) (any, error) {
				refused := ctx.Refuse(Errorf(Busy, "not now").WithDetails("details"))
				kept = refused
				return nil, refused
			}
		})
		never := func() { t.Error("a refused request was handled") }
		refuse.OnMessage("/refused", never)
		refuse.OnMessage("/wrapped", never)
		refuse.OnMessage("/with a code", never)
		refuse.OnMessage("/items", func(s *Stream) { never() })
		srv.OnMessage("/of another", func() error { return kept })
		srv.OnMessage("/delivery", func() error { return Errorf(Busy, "").WithDelivery(NotProcessed) })
		cli := connectPipe(t, srv, nil)
		for _, tt := range []struct {
			path, message string
			want          Delivery
		}{
			{"/refused", "not now", NotProcessed},
			{"/wrapped", "around: BUSY: not now", NotProcessed},
			{"/with a code", "around: BUSY: not now", NotProcessed},
			{"/of another", "not now", Answered},
			{"/delivery", "BUSY", Answered},
		} {
			err := cli.Call(t.Context(), tt.path, nil, nil)
			wantErr(t, err, Busy, tt.want)
			e := err.(*Error)
			if e.Message != tt.message || (tt.path == "/refused") != (e.Details == "details") && tt.path == "/delivery" {
				t.Errorf("%s: %q with %v", tt.path, e.Message, e.Details)
			}
		}
		s, err := cli.OpenStream(t.Context(), "/items", nil)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, s.Recv(nil), Busy, NotProcessed)
		if err := cli.SendMessage(t.Context(), "/refused", nil); err != nil {
			t.Error(err)
		}
	})
}

// TestRefuseVersion1: a version 1 peer is told the code alone.
func TestRefuseVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func(ctx *Context) error { return ctx.Refuse(Errorf(Busy, "not now")) })
		w := wireTo(t, srv)
		w.request(1, "/x", "null")
		if p := w.wantAnswer(1, Busy, "not now"); len(p.Meta) > 0 {
			t.Errorf("with metadata: %q", p.Meta)
		}
	})
}

func TestCodeOfAndSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := errors.New("own")
		srv := quietServer(t, &ServerOpts{Errors: map[Code]error{"OWN": own}})
		srv.OnMessage("/x", func(ctx *Context) (n int) {
			for _, tt := range []struct {
				err  error
				want Code
			}{
				{nil, ""},
				{NotFound, NotFound},
				{fmt.Errorf("x: %w", Errorf("MINE", "y")), "MINE"},
				{fmt.Errorf("x: %w", own), "OWN"},
				{context.DeadlineExceeded, Timeout},
				{context.Canceled, Canceled},
				{errors.New("x"), Failed},
			} {
				if got := ctx.CodeOf(tt.err); got != tt.want {
					t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
				}
			}
			return ctx.Size()
		})
		zip := Zip{Body: ZipFlate}
		for _, opts := range []*ClientOpts{nil, {Zip: zip}} {
			cli := connectPipe(t, srv, opts)
			ctx := WithMeta(t.Context(), "key", "value")
			for _, n := range []int{0, 5, 100_000} {
				if got, err := Call[int](ctx, cli, "/x", []byte(strings.Repeat("x", n))); got != n || err != nil {
					t.Errorf("%d bytes, %v; want %d", got, err, n)
				}
			}
		}
	})
}

func TestWithDelivery(t *testing.T) {
	e := Errorf(Unavailable, "open")
	for _, d := range []Delivery{Unknown, NotSent, NotProcessed, Answered} {
		if got := Outcome(e.WithDelivery(d)); got != d {
			t.Errorf("%v, want %v", got, d)
		}
	}
	if Outcome(e) != Unknown {
		t.Error("the original has changed")
	}
}

func TestIsIdempotent(t *testing.T) {
	ctx := WithMeta(t.Context(), "a", "b")
	if IsIdempotent(ctx) || IsIdempotent(t.Context()) {
		t.Error("idempotent")
	}
	if !IsIdempotent(WithMeta(WithIdempotent(ctx), "c", "d")) {
		t.Error("not idempotent")
	}
}
