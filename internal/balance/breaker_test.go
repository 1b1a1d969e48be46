package balance_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

// newBreaker returns a Set of one target, whose breaker opens after 3 failures, for 1 to 4 s.
func newBreaker() (*balance.Set, *balance.Target, *watch) {
	w := newWatch()
	s, targets := newSet(balance.Options{Failures: 3, Pause: time.Second, MaxPause: 4 * time.Second, Now: w.time}, 1)
	return s, targets[0], w
}

// picks reports whether the target is picked.
func picks(s *balance.Set) bool {
	_, err := s.Pick("", nil)
	return err == nil
}

func TestBreakerOpens(t *testing.T) {
	s, target, w := newBreaker()
	end(target, 2, true)
	end(target, 1, false) // not in a row
	end(target, 2, true)
	if !picks(s) || target.IsOpen() {
		t.Fatal("the breaker is open after 2 failures in a row")
	}
	target.Begin()
	target.Drop()
	end(target, 1, true)
	if picks(s) || !target.IsOpen() {
		t.Fatal("the breaker isn't open after 3 failures in a row")
	}
	w.advance(time.Second - 1)
	if picks(s) {
		t.Error("the target is tried before the pause is over")
	}
	w.advance(1)
	if !picks(s) || picks(s) || !target.IsOpen() {
		t.Error("the target isn't tried once after the pause")
	}
	end(target, 1, false)
	if target.IsOpen() || !picks(s) || !picks(s) {
		t.Error("the breaker isn't closed after a success")
	}
	end(target, 2, true)
	if target.IsOpen() {
		t.Error("a closed breaker remembers failures")
	}
}

func TestBreakerPauses(t *testing.T) {
	s, target, w := newBreaker()
	end(target, 3, true)
	for _, pause := range []time.Duration{1, 2, 4, 4, 4} {
		w.advance(pause*time.Second - 1)
		if picks(s) {
			t.Errorf("tried before %d s", pause)
		}
		w.advance(1)
		if !picks(s) {
			t.Errorf("not tried after %d s", pause)
		}
		end(target, 7, true) // the first of them is that of the trial
	}
	w.advance(4 * time.Second)
	picks(s)
	end(target, 1, false)
	end(target, 3, true)
	w.advance(time.Second)
	if !picks(s) {
		t.Error("a breaker that was closed doesn't begin with the first pause")
	}
}

// Nobody knows whether what was picked is used, so it is tried again when another pause has passed.
func TestBreakerTrialLost(t *testing.T) {
	s, target, w := newBreaker()
	end(target, 3, true)
	for range 3 {
		w.advance(time.Second)
		if !picks(s) || picks(s) {
			t.Error("the target isn't tried once in a pause")
		}
	}
}

// What began before the breaker opened says nothing while it is open.
func TestBreakerLateEnds(t *testing.T) {
	s, target, w := newBreaker()
	for range 10 {
		target.Begin()
	}
	for range 8 {
		target.End(true)
	}
	target.End(false)
	if !target.IsOpen() {
		t.Fatal("a call that had begun before has closed the breaker")
	}
	w.advance(time.Second)
	if !picks(s) {
		t.Error("failures of calls that had begun before have made the pause longer")
	}
}

func TestBreakerUpDown(t *testing.T) {
	s, target, w := newBreaker()
	end(target, 3, true)
	target.Up() // it is
	if picks(s) {
		t.Error("Up of one that is up has closed the breaker")
	}
	target.Down()
	target.Down()
	w.advance(time.Hour)
	if picks(s) {
		t.Error("one that is down is tried")
	}
	end(target, 9, true)
	target.Up()
	if target.IsOpen() || !picks(s) {
		t.Error("the breaker is open after a new start")
	}
	end(target, 2, true)
	if target.IsOpen() {
		t.Error("failures from before the new start count")
	}
}

func TestBreakerNever(t *testing.T) {
	s, targets := newSet(balance.Options{Failures: -1}, 1)
	end(targets[0], 1000, true)
	if targets[0].IsOpen() || !picks(s) {
		t.Error("the breaker has opened")
	}
}

func TestBreakerDefaults(t *testing.T) {
	w := newWatch()
	s, targets := newSet(balance.Options{Now: w.time}, 1)
	end(targets[0], balance.DefaultFailures-1, true)
	if targets[0].IsOpen() {
		t.Error("the breaker is open too early")
	}
	end(targets[0], 1, true)
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		var none *balance.NoneError
		if _, err := s.Pick("", nil); !errors.As(err, &none) || none.Next != pause*time.Second {
			t.Errorf("the next trial is in %v, want %d s", none.Next, pause)
		}
		w.advance(pause * time.Second)
		picks(s)
		end(targets[0], 1, true)
	}
	s, targets = newSet(balance.Options{Pause: time.Minute, Now: w.time}, 1)
	end(targets[0], balance.DefaultFailures, true)
	for range 3 {
		w.advance(time.Minute)
		if !picks(s) {
			t.Error("a Pause longer than MaxPause isn't MaxPause as well")
		}
		end(targets[0], 1, true)
	}
}

// Others are picked meanwhile, and the call that tries is not theirs.
func TestBreakerAmongOthers(t *testing.T) {
	for _, strategy := range []balance.Strategy{balance.RoundRobin, balance.LeastInFlight} {
		w := newWatch()
		s, targets := newSet(balance.Options{Strategy: strategy, Failures: 1, Now: w.time}, 3)
		end(targets[1], 1, true)
		for range 6 {
			if pick(t, s, "", nil) == targets[1] {
				t.Error("one whose breaker is open is picked")
			}
		}
		w.advance(balance.DefaultPause)
		if pick(t, s, "", targets[1]) == targets[1] {
			t.Error("one that is excluded is tried")
		}
		if pick(t, s, "", nil) != targets[1] {
			t.Error("one whose pause is over isn't tried")
		}
		if pick(t, s, "", nil) == targets[1] {
			t.Error("it is tried twice in a pause")
		}
	}
}

// A target is only tried with a key that belongs to it.
func TestBreakerSticky(t *testing.T) {
	w := newWatch()
	s, _ := newSet(balance.Options{Strategy: balance.Sticky, Failures: 1, Now: w.time}, 3)
	owner := map[string]*balance.Target{}
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}
	for _, key := range keys {
		owner[key] = pick(t, s, key, nil)
	}
	broken := owner["l"]
	end(broken, 1, true)
	w.advance(balance.DefaultPause)
	tries := 0
	for _, key := range keys {
		switch got := pick(t, s, key, nil); {
		case got == broken && owner[key] != broken:
			t.Errorf("%s tries %s, and belongs to %s", key, got.ID(), owner[key].ID())
		case got == broken:
			tries++
		}
	}
	if tries != 1 {
		t.Errorf("the broken target is tried %d times", tries)
	}
}

// When two targets of a key are to be tried, its first one is.
func TestBreakerStickyOrder(t *testing.T) {
	w := newWatch()
	s, targets := newSet(balance.Options{Strategy: balance.Sticky, Failures: 1, Now: w.time}, 3)
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		first := pick(t, s, key, nil)
		second := pick(t, s, key, first)
		end(second, 1, true)
		end(first, 1, true)
		w.advance(balance.DefaultPause)
		if got := pick(t, s, key, nil); got != first {
			t.Errorf("%s tries %s first", key, got.ID())
		}
		if got := pick(t, s, key, nil); got != second {
			t.Errorf("%s tries %s as the second", key, got.ID())
		}
		if got := pick(t, s, key, nil); got == first || got == second {
			t.Errorf("%s tries %s again", key, got.ID())
		}
		for _, target := range targets {
			target.Down()
			target.Up()
		}
	}
}
