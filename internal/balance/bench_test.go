package balance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

var strategies = map[string]balance.Strategy{
	"roundRobin": balance.RoundRobin, "leastInFlight": balance.LeastInFlight, "sticky": balance.Sticky,
}

// What choosing adds to each call: picking, beginning and ending.
func BenchmarkCall(b *testing.B) {
	for name, strategy := range strategies {
		for _, n := range []int{1, 3, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, _ := newSet(balance.Options{Strategy: strategy}, n)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						call(b, s)
					}
				})
			})
		}
	}
}

// The same while one of three is left out.
func BenchmarkCallOpen(b *testing.B) {
	for name, strategy := range strategies {
		b.Run(name, func(b *testing.B) {
			s, targets := newSet(balance.Options{Strategy: strategy, Pause: time.Hour}, 3)
			end(targets[0], balance.DefaultFailures, true)
			b.ReportAllocs()
			for b.Loop() {
				call(b, s)
			}
		})
	}
}

// call picks a target for a call that succeeds.
func call(tb testing.TB, s *balance.Set) {
	t, err := s.Pick("session-4711", nil)
	if err != nil {
		tb.Fatal(err)
	}
	t.Begin()
	t.End(false)
}

func TestNoAllocations(t *testing.T) {
	for name, strategy := range strategies {
		s, targets := newSet(balance.Options{Strategy: strategy, Pause: time.Nanosecond}, 5)
		end(targets[0], balance.DefaultFailures, true)
		if n := memorytest.AllocsPerRun(100, func() { call(t, s) }); n != 0 {
			t.Errorf("%s: a call takes %g allocations", name, n)
		}
	}
}
