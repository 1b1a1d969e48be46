package balance_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

// While targets come, go, break and recover, one that is down all the time a pick takes isn't picked, and the counts are right
// in the end.
func TestConcurrent(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s, targets := newSet(balance.Options{Strategy: strategy, Failures: 2, Pause: time.Microsecond}, 4)
			var stop atomic.Bool
			var downs [4]atomic.Int64 // odd while the target is down for sure
			var picked atomic.Int64
			var users, changer sync.WaitGroup
			for user := range 4 {
				users.Go(func() {
					for i := 0; !stop.Load(); i++ {
						before := [4]int64{downs[0].Load(), downs[1].Load(), downs[2].Load(), downs[3].Load()}
						target, err := s.Pick(string(rune('a'+i%26)), nil)
						if err != nil {
							continue
						}
						for j := range targets {
							if n := downs[j].Load(); targets[j] == target && n == before[j] && n%2 == 1 {
								t.Errorf("%s is picked and was down all the time", target.ID())
							}
						}
						target.Begin()
						target.End((i+user)%3 == 0)
						picked.Add(1)
					}
				})
			}
			changer.Go(func() {
				for i := 0; !stop.Load(); i++ {
					target, down := targets[i%3], &downs[i%3] // the last one stays
					target.Down()
					down.Add(1)
					s.Update(ids(4 + i%3))
					down.Add(1)
					target.Up()
				}
			})
			for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
				for _, target := range s.Targets() {
					target.InFlight()
				}
			}
			stop.Store(true)
			users.Wait()
			changer.Wait()
			if picked.Load() == 0 {
				t.Error("nothing was picked")
			}
			for _, target := range targets {
				if n := target.InFlight(); n != 0 {
					t.Errorf("%s has %d calls in flight in the end", target.ID(), n)
				}
			}
		})
	}
}
