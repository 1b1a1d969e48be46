package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// newServer returns a Server that the test closes. nil opts are those of a server that logs nothing.
func newServer(t testing.TB, opts *flyrpc.ServerOpts) *flyrpc.Server {
	if opts == nil {
		opts = &flyrpc.ServerOpts{Logger: slog.New(slog.DiscardHandler)}
	}
	srv := flyrpc.NewServer(opts)
	t.Cleanup(func() { srv.Close() })
	return srv
}

// newClient returns a Client of srv, connected over a pipe, that the test closes.
func newClient(t testing.TB, srv *flyrpc.Server, opts *flyrpc.ClientOpts) *flyrpc.Client {
	t.Helper()
	cli := connect(srv, opts)
	t.Cleanup(func() { cli.Close() })
	if err := cli.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cli
}

// connect returns a client of srv over a connection inside the process.
func connect(srv *flyrpc.Server, opts *flyrpc.ClientOpts) *flyrpc.Client {
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	return flyrpc.NewClientConn(near, opts)
}

// intercept returns the options of a client with interceptors.
func intercept(chain ...flyrpc.Interceptor) *flyrpc.ClientOpts {
	return &flyrpc.ClientOpts{Intercept: chain}
}

// wantErr checks an error's code, also "" for none, and how far its call had come.
func wantErr(t testing.TB, err error, code flyrpc.Code, d flyrpc.Delivery) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("got error %v", err)
		}
		return
	}
	if !errors.Is(err, code) || flyrpc.Outcome(err) != d {
		t.Errorf("got error %v, %v; want %s, %v", err, flyrpc.Outcome(err), code, d)
	}
}

// wantPanic checks that f panics with a text that has want in it.
func wantPanic(t testing.TB, want string, f func()) {
	t.Helper()
	defer func() {
		text, _ := recover().(string)
		if !bytes.Contains([]byte(text), []byte(want)) || want == "" {
			t.Errorf("it panicked with %q, want %q", text, want)
		}
	}()
	f()
}

// logText is a log that tests read.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take returns what was logged.
func (l *logText) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// newLog returns a Logger that takes level and above, without times.
func newLog(level slog.Level) (*slog.Logger, *logText) {
	l := new(logText)
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), l
}

// server is an Invoker that stands for all that is inside of an Interceptor.
type server func(n int, ctx context.Context, call *flyrpc.Outgoing) error

// behind returns the Invoker that an Interceptor makes of s, and how often s was called.
func (s server) behind(i flyrpc.Interceptor) (invoke flyrpc.Invoker, calls *int) {
	calls = new(int)
	return i(func(ctx context.Context, call *flyrpc.Outgoing) error {
		*calls++
		return s(*calls, ctx, call)
	}), calls
}

// ctx is what the examples call with.
var ctx = context.Background()
