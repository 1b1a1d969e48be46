package flyrpctest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

type sum struct{ A, B int }

func add(q sum) (int, error) {
	if q.A < 0 || q.B < 0 {
		return 0, flyrpc.Errorf(flyrpc.BadRequest, "negative numbers are not added")
	}
	return q.A + q.B, nil
}

// exampleT is what stands for the test's own t in an example, which has none.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                   {}
func (*exampleT) Name() string              { return "Example" }
func (*exampleT) Log(...any)                {}
func (*exampleT) Failed() bool              { return false }
func (*exampleT) Skipped() bool             { return false }
func (*exampleT) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
func (*exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (*exampleT) Context() context.Context  { return context.Background() }
func (t *exampleT) Cleanup(f func())        { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

// A server and a client that is connected to it, in memory.
func ExampleNewClient() {
	t := new(exampleT) // a test has its own
	defer t.end()

	srv := flyrpctest.NewServer(t, nil)
	srv.OnMessage("/add", add)
	cli := flyrpctest.NewClient(t, srv, nil)

	fmt.Println(flyrpc.Call[int](t.Context(), cli, "/add", sum{2, 3}))
	fmt.Println(flyrpc.Call[int](t.Context(), cli, "/add", sum{-2, 3}))
	// Output:
	// 5 <nil>
	// 0 BAD_REQUEST: negative numbers are not added
}

// What comes in at a server is recorded by a middleware, and awaited without sleeping.
func ExampleRecorder() {
	t := new(exampleT) // a test has its own
	defer t.end()

	rec := new(flyrpctest.Recorder)
	srv := flyrpctest.NewServer(t, nil)
	srv.Use(rec.Middleware)
	srv.OnMessage("/add", add)
	srv.OnMessage("/seen", func(page string) {})
	cli := flyrpctest.NewClient(t, srv, nil)

	_ = cli.Call(t.Context(), "/add", sum{2, 3}, nil)
	_ = cli.Call(t.Context(), "/add", sum{-2, 3}, nil)
	_ = cli.SendMessage(flyrpc.WithMeta(t.Context(), "user", "ada"), "/seen", "home")

	seen := rec.AwaitEnd(t, "/seen", 1) // a message has no answer that tells when it was handled
	fmt.Println(seen.Message, seen.Meta["user"], seen.OneWay)
	for _, call := range rec.Records("/add") {
		fmt.Println(call)
	}
	// Output:
	// "home" ada true
	// in /add {"A":2,"B":3}: 5
	// in /add {"A":-2,"B":3}: BAD_REQUEST: negative numbers are not added (Answered)
}

// A connection that is cut in the middle of a reply leaves it unknown whether the call was
// executed; one that can't be made doesn't.
func ExampleLink() {
	t := new(exampleT) // a test has its own
	defer t.end()

	srv := flyrpctest.NewServer(t, nil)
	srv.OnMessage("/page", flyrpctest.Reply(strings.Repeat("text ", 1000)))
	cli := flyrpctest.NewClient(t, srv, nil)

	cli.Link.Down.CloseAfter(100) // bytes that the server sends
	err := cli.Call(t.Context(), "/page", nil, nil)
	fmt.Println(errors.Is(err, flyrpc.Unavailable), flyrpc.Outcome(err))

	cli.Host.Stop()
	err = cli.Connect(t.Context())
	fmt.Println(errors.Is(err, flyrpc.Unavailable), flyrpc.Outcome(err))

	cli.Host.Start(nil)
	fmt.Println(cli.Connect(t.Context()))
	// Output:
	// true Unknown
	// true NotSent
	// <nil>
}

// A handler for code that is tested against a server: it is busy, hangs, and then answers.
func ExampleInTurn() {
	t := new(exampleT) // a test has its own
	defer t.end()

	srv := flyrpctest.NewServer(t, nil)
	srv.OnMessage("/add", flyrpctest.InTurn(flyrpctest.Fail(flyrpc.Busy), flyrpctest.Reply(5)))
	cli := flyrpctest.NewClient(t, srv, nil)

	fmt.Println(flyrpc.Call[int](t.Context(), cli, "/add", sum{2, 3}))
	fmt.Println(flyrpc.Call[int](t.Context(), cli, "/add", sum{2, 3}))
	// Output:
	// 0 BUSY
	// 5 <nil>
}
