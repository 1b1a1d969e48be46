package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// stringer is an identity with a text.
type stringer struct{ secret string }

func (stringer) String() string { return "the stringer" }

func TestLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLog(slog.LevelInfo)
		srv := newServer(t, &flyrpc.ServerOpts{
			Logger: slog.New(slog.DiscardHandler),
			Errors: map[flyrpc.Code]error{"OWN": os.ErrExist},
			Auth:   func(context.Context, *flyrpc.Credentials) (any, error) { return "ada", nil },
		})
		srv.Use(middleware.Logger(&middleware.LoggerOptions{Logger: log}))
		srv.OnMessage("/bytes", func(b []byte) []byte { time.Sleep(time.Second); return b[1:] })
		srv.OnMessage("/text", func() string { return "secret" })
		srv.OnMessage("/struct", func() any { return []string{"secret"} })
		srv.OnMessage("/own", func() error { return fmt.Errorf("secret: %w", os.ErrExist) })
		srv.OnMessage("/failed", func() error { return errors.New("secret") })
		srv.OnMessage("/internal", func() ([]byte, error) { return []byte("x"), flyrpc.Internal })
		srv.OnMessage("/canceled", func() error { return context.Canceled })
		srv.OnMessage("/panic", func() { panic("secret") })
		srv.OnMessage("/items", func() iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				time.Sleep(time.Minute)
				_ = yield("secret", nil) && yield("", flyrpc.Conflict)
			}
		})
		cli := newClient(t, srv, nil)
		ctx := flyrpc.WithMeta(t.Context(), "token", "secret")
		const rest = " peer=pipe identity=ada"
		for _, tt := range []struct{ path, level, want string }{
			{"/bytes", "INFO", "code=OK duration=1s request_bytes=6 reply_bytes=5"},
			{"/text", "INFO", "code=OK duration=0s request_bytes=6 reply_bytes=6"},
			{"/struct", "INFO", "code=OK duration=0s request_bytes=6"},
			{"/own", "WARN", "code=OWN duration=0s request_bytes=6"},
			{"/failed", "WARN", "code=ERROR duration=0s request_bytes=6"},
			{"/internal", "ERROR", "code=INTERNAL duration=0s request_bytes=6"},
			{"/canceled", "INFO", "code=CANCELED duration=0s request_bytes=6"},
			{"/panic", "ERROR", "code=HANDLER_PANIC duration=0s request_bytes=6"},
			{"/items", "WARN", "code=CONFLICT duration=1m0s request_bytes=6"},
		} {
			for range flyrpc.Receive[any](ctx, cli, tt.path, []byte("secret")) {
			}
			synctest.Wait()
			want := fmt.Sprintf("level=%s msg=call conn=1 path=%s %s%s\n", tt.level, tt.path, tt.want, rest)
			if got := regexp.MustCompile("peer=[^ ]+").ReplaceAllString(text.take(), "peer=pipe"); got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		}
	})
}

// TestLoggerOptions: what is logged of errors and identities, and at which level.
func TestLoggerOptions(t *testing.T) {
	debug, info := slog.LevelDebug, slog.LevelInfo
	for _, tt := range []struct {
		name     string
		opts     middleware.LoggerOptions
		level    slog.Level
		identity any
		want     string
		not      string
	}{
		{"nobody", middleware.LoggerOptions{}, info, nil, "WARN", "identity"},
		{"a struct", middleware.LoggerOptions{}, info, struct{ Secret string }{"s3cret"}, "WARN", "identity"},
		{"a Stringer", middleware.LoggerOptions{}, info, stringer{"s3cret"}, `identity="the stringer"`, "s3cret"},
		{"a function", middleware.LoggerOptions{Identity: func(v any) string { return fmt.Sprintf("%T", v) }}, info, 7, "identity=int", ""},
		{"no text", middleware.LoggerOptions{}, info, "ada", "identity=ada", "error="},
		{"text", middleware.LoggerOptions{Errors: true}, info, "ada", `error="NOT_FOUND: the text"`, ""},
		{"text for Debug", middleware.LoggerOptions{}, debug, "ada", `error="NOT_FOUND: the text"`, ""},
		{"a level", middleware.LoggerOptions{Level: func(flyrpc.Code) slog.Level { return debug }}, debug, nil, "level=DEBUG", ""},
		{"a level below", middleware.LoggerOptions{Level: func(flyrpc.Code) slog.Level { return debug }}, info, nil, "", "call"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, text := newLog(tt.level)
				tt.opts.Logger = log
				srv := newServer(t, &flyrpc.ServerOpts{
					Logger: slog.New(slog.DiscardHandler),
					Auth:   func(context.Context, *flyrpc.Credentials) (any, error) { return tt.identity, nil },
				})
				srv.Use(middleware.Logger(&tt.opts))
				srv.OnMessage("/x", func() error { return flyrpc.Errorf(flyrpc.NotFound, "the text") })
				cli := newClient(t, srv, nil)
				wantErr(t, cli.Call(t.Context(), "/x", nil, nil), flyrpc.NotFound, flyrpc.Answered)
				synctest.Wait()
				if got := text.take(); !strings.Contains(got, tt.want) || tt.not != "" && strings.Contains(got, tt.not) {
					t.Errorf("got %q, want %q and not %q", got, tt.want, tt.not)
				}
			})
		})
	}
}

// TestLoggerWith: Logger knows what RequestID and Auth inside of it have found out, and RequestID outside.
func TestLoggerWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLog(slog.LevelInfo)
		logger := middleware.Logger(&middleware.LoggerOptions{Logger: log})
		auth, err := middleware.Auth(middleware.AuthOptions{
			Rules: []middleware.Rule{middleware.Roles("/in/x", "nobody"), middleware.Authenticated("...")},
			Check: func(_ context.Context, token string) (*middleware.Principal, error) {
				return &middleware.Principal{Name: "the " + token}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		srv := newServer(t, nil)
		srv.Group("/in", logger, middleware.RequestID(""), auth).OnMessage("/x", func() {})
		srv.Group("/out", middleware.RequestID(""), auth, logger).OnMessage("/x", func() {})
		cli := newClient(t, srv, intercept(middleware.Token("", "bearer"), middleware.SendRequestID("")))
		ctx := middleware.WithRequestID(t.Context(), "r1")
		for path, want := range map[string]string{
			"/in/x":  `code=FORBIDDEN .* identity="the bearer" request_id=r1`,
			"/out/x": `code=OK .* identity="the bearer" request_id=r1`,
		} {
			_ = cli.Call(ctx, path, nil, nil)
			synctest.Wait()
			if got := text.take(); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("got %q, want %s", got, want)
			}
		}
	})
}

// TestLoggerDefault: nil options write to slog.Default.
func TestLoggerDefault(t *testing.T) {
	log, text := newLog(slog.LevelInfo)
	before := slog.Default()
	defer slog.SetDefault(before)
	srv := newServer(t, nil)
	srv.Use(middleware.Logger(nil))
	slog.SetDefault(log)
	srv.OnMessage("/x", func() {})
	cli := newClient(t, srv, nil)
	if err := cli.Call(t.Context(), "/x", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := text.take(); !strings.Contains(got, "path=/x code=OK") {
		t.Errorf("got %q", got)
	}
}

func ExampleLogger() {
	lines := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, "duration", "peer": // differ each time
			return slog.Attr{}
		}
		return a
	}}))
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.Use(middleware.Logger(&middleware.LoggerOptions{Logger: lines}))
	srv.OnMessage("/half", func(n int) (string, error) {
		if n%2 != 0 {
			return "", flyrpc.Errorf(flyrpc.BadRequest, "%d is odd", n)
		}
		return fmt.Sprint(n / 2), nil
	})
	cli := connect(srv, nil)
	defer cli.Close()

	for n := range 2 {
		_ = cli.Call(ctx, "/half", n, nil)
	}
	// Output:
	// level=INFO msg=call conn=1 path=/half code=OK request_bytes=1 reply_bytes=1
	// level=WARN msg=call conn=1 path=/half code=BAD_REQUEST request_bytes=1
}
