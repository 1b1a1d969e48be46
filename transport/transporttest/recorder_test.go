package transporttest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a test whose failures are written down.
type recorder struct {
	testing.TB // for what is not about failing
	mu         sync.Mutex
	failures   []string
	skipped    bool
	cleanups   []func()
}

func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, text)
}

func (r *recorder) Errorf(format string, args ...any) { r.note(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skip(...any) {
	r.skipped = true
	runtime.Goexit()
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// record runs one check of a Config and returns what it found.
func record(t *testing.T, c Config, name string) (failures string, skipped bool) {
	t.Helper()
	for _, check := range checks(&c) {
		if check.name != name {
			continue
		}
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			check.run(newKit(r, c))
		}()
		<-done
		for i := len(r.cleanups) - 1; i >= 0; i-- {
			r.cleanups[i]()
		}
		return strings.Join(r.failures, "\n"), r.skipped
	}
	t.Fatalf("no check %s applies", name)
	return "", false
}
