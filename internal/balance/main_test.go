package balance_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch is a time that moves only when it is told to.
type watch struct{ now time.Time }

func (w *watch) time() time.Time         { return w.now }
func (w *watch) advance(d time.Duration) { w.now = w.now.Add(d) }
func newWatch() *watch                   { return &watch{time.Unix(1e9, 0)} }

func ids(n int) (all []string) { return idsFrom(0, n) }
func idsFrom(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("tcp://10.0.0.%d:7000", i))
	}
	return all
}

// newSet returns a Set of n targets, all of them up.
func newSet(o balance.Options, n int) (*balance.Set, []*balance.Target) {
	s := balance.New(o)
	added, _ := s.Update(ids(n))
	for _, t := range added {
		t.Up()
	}
	return s, added
}

// pick returns the target that is picked.
func pick(t testing.TB, s *balance.Set, key string, not *balance.Target) *balance.Target {
	t.Helper()
	target, err := s.Pick(key, not)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// end has n calls to a target end.
func end(t *balance.Target, n int, failed bool) {
	for range n {
		t.Begin()
		t.End(failed)
	}
}
