package flyrpctest

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// NewLogger returns a Logger that writes to the test's log, what is below Info left out. What comes when
// the test has ended is dropped.
func NewLogger(t testing.TB) *slog.Logger {
	w := &testLog{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, nil))
}

// testLog writes to a test's log.
type testLog struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

// Write logs one line.
func (w *testLog) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.t.Log(strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}

func (w *testLog) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}
