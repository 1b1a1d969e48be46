package flyrpctest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc"
)

// fakeTB is a test that notes what becomes of it, to test what fails tests. What it isn't
// given here is the real test's.
type fakeTB struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	errors   []string
	logs     []string
	cleanups []func()
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) note(list *[]string, text string, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(*list, text)
	f.failed = f.failed || failed
}

func (f *fakeTB) Log(args ...any) { f.note(&f.logs, fmt.Sprint(args...), false) }
func (f *fakeTB) Errorf(format string, args ...any) {
	f.note(&f.errors, fmt.Sprintf(format, args...), true)
}

func (f *fakeTB) Fatal(args ...any) {
	f.note(&f.errors, fmt.Sprint(args...), true)
	runtime.Goexit()
}

func (f *fakeTB) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

func (f *fakeTB) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *fakeTB) Cleanup(c func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleanups = append(f.cleanups, c)
}

// run runs a test to its end, cleanups included, and returns what it failed with.
func (f *fakeTB) run(test func(t testing.TB)) string {
	do := func(step func()) {
		done := make(chan struct{})
		go func() { defer close(done); step() }()
		<-done
	}
	do(func() { test(f) })
	for len(f.cleanups) > 0 {
		last := len(f.cleanups) - 1
		c := f.cleanups[last]
		f.cleanups = f.cleanups[:last]
		do(c)
	}
	return strings.Join(f.errors, "\n")
}

// wantText checks that text has all parts, or is empty if there are none.
func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	if len(parts) == 0 && text != "" {
		t.Errorf("got %q, want nothing", text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q has no %q", text, part)
		}
	}
}

type sum struct{ A, B int }

func add(q sum) int { return q.A + q.B }

// newAdder returns a server that adds.
func newAdder(t testing.TB) *flyrpc.Server {
	srv := NewServer(t, nil)
	srv.OnMessage("/add", add)
	return srv
}

// wantSum checks that a caller's server adds.
func wantSum(t testing.TB, c flyrpc.Caller) {
	t.Helper()
	if total, err := flyrpc.Call[int](t.Context(), c, "/add", sum{2, 3}); total != 5 || err != nil {
		t.Errorf("the sum is %d, %v", total, err)
	}
}

// wantErr checks an error's code and outcome.
func wantErr(t testing.TB, err error, code flyrpc.Code, d flyrpc.Delivery) {
	t.Helper()
	if e, ok := err.(*flyrpc.Error); !ok || e.Code != code || flyrpc.Outcome(err) != d {
		t.Errorf("got %v, %v; want %s, %v", err, flyrpc.Outcome(err), code, d)
	}
}
