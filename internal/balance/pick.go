package balance

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// compared is how many targets LeastInFlight compares, at most.
const compared = 16

// ErrNone is what the errors of Pick are.
var ErrNone = errors.New("balance: no target can be used")

// NoneError says why Pick has found none.
type NoneError struct {
	Targets int           // how many there are
	Down    int           // of which so many are down,
	Open    int           // so many are up, but left out after failures,
	Left    int           // and so many, 1 at most, could be used but for not
	Next    time.Duration // until the first of the open ones is picked to be tried; 0 if there is none
}

// Error says how many targets there are and why none of them is picked.
func (e *NoneError) Error() string {
	if e.Targets == 0 {
		return ErrNone.Error() + ": there are none"
	}
	var why []string
	if e.Down > 0 {
		why = append(why, fmt.Sprintf("%d can't be reached", e.Down))
	}
	if e.Open > 0 {
		why = append(why, fmt.Sprintf("%d left out after failures, and tried again in %v", e.Open, e.Next.Round(time.Millisecond)))
	}
	if e.Left > 0 {
		why = append(why, "1 was asked already")
	}
	return fmt.Sprintf("%v: of %d, %s", ErrNone, e.Targets, strings.Join(why, ", "))
}

// Is reports whether target is ErrNone.
func (e *NoneError) Is(target error) bool { return target == ErrNone }

// Pick returns a target for a call: never not, never one that is down, and one whose breaker is open only once in a pause, to be tried.
// key matters to Sticky alone. The error, if there is none, is a *NoneError. Pick allocates nothing but that.
func (s *Set) Pick(key string, not *Target) (*Target, error) {
	v := s.view.Load()
	if len(v.open) > 0 {
		if t := s.trial(v, key, not); t != nil {
			return t, nil
		}
	}
	if t := s.choose(v.ready, key, not); t != nil {
		return t, nil
	}
	return nil, s.none(v, not)
}

// choose picks one of the targets that are ready, or returns nil if there is none.
func (s *Set) choose(ready []*Target, key string, not *Target) *Target {
	switch {
	case len(ready) == 0:
		return nil
	case s.o.Strategy == Sticky && key != "":
		return highest(ready, hash(key), not)
	}
	start := int((s.next.Add(1) - 1) % uint64(len(ready)))
	if s.o.Strategy == LeastInFlight {
		return least(ready, start, not)
	}
	t := ready[start]
	if t != not {
		return t
	}
	if t = ready[(start+1)%len(ready)]; t != not {
		return t
	}
	return nil
}

// least returns a target that has the fewest calls in flight, of those from start on.
func least(ready []*Target, start int, not *Target) (best *Target) {
	var fewest int64
	for n, i := 0, start; n < min(len(ready), compared+1); n++ {
		t := ready[i]
		if i++; i == len(ready) {
			i = 0
		}
		if t == not {
			continue
		}
		if calls := t.inFlight.Load(); best == nil || calls < fewest {
			best, fewest = t, calls
		}
		if fewest <= 0 {
			break
		}
	}
	return best
}

// highest returns the target that has the highest score for a key.
func highest(ready []*Target, key uint64, not *Target) (best *Target) {
	var top uint64
	for _, t := range ready {
		if score := mix(key, t.hash); t != not && (best == nil || score > top) {
			best, top = t, score
		}
	}
	return best
}

// trial returns a target whose breaker is open and that is to be tried with this call, or nil. A key tries a target only if it goes
// before those that are ready.
func (s *Set) trial(v *view, key string, not *Target) *Target {
	var best *Target
	var h uint64
	sticky := s.o.Strategy == Sticky && key != ""
	if sticky {
		h = hash(key)
		best = highest(v.ready, h, not)
	}
	now := s.clock()
	for _, t := range v.open {
		if t == not || int64(now) < t.retry.Load() {
			continue
		}
		if best == nil || sticky && mix(h, t.hash) > mix(h, best.hash) {
			best = t
		}
	}
	if best == nil || !best.claim(now) {
		return nil
	}
	return best
}

// none says why there is no target to pick.
func (s *Set) none(v *view, not *Target) error {
	e := &NoneError{Targets: len(v.all), Down: len(v.all) - len(v.ready) - len(v.open), Open: len(v.open), Left: len(v.ready)}
	now := s.clock()
	for _, t := range v.open {
		if next := max(1, time.Duration(t.retry.Load())-now); e.Next == 0 || next < e.Next {
			e.Next = next
		}
	}
	return e
}
