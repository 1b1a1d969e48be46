package balance

import (
	"sync/atomic"
	"time"
)

// Target is one of a Set, with its state. All methods may be called concurrently.
type Target struct {
	// Value is for whoever has made the Set: what it is that ID names. It must not be changed after the first Up.
	Value any

	id   string
	hash uint64
	set  *Set

	inFlight atomic.Int64
	failures atomic.Int64 // in a row; changed with the set's lock held
	retry    atomic.Int64 // when an open one is picked next, by the set's clock

	// Guarded by the set's lock.
	up    bool
	open  bool // the breaker
	tried bool // it was picked since it opened, or since that failed
	pause time.Duration
}

// ID returns what Update calls it.
func (t *Target) ID() string { return t.id }

// InFlight returns how many calls have begun and not ended.
func (t *Target) InFlight() int { return int(t.inFlight.Load()) }

// IsUp reports whether Up was called last, and not Down.
func (t *Target) IsUp() bool {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	return t.up
}

// IsOpen reports whether its breaker is open, so that it is left out.
func (t *Target) IsOpen() bool {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	return t.open
}

// Begin says that a call to the target begins. End or Drop must follow once. Pick doesn't do it.
func (t *Target) Begin() { t.inFlight.Add(1) }

// Drop says that a call has ended in a way that tells nothing about the target: it was cancelled, for example, or not sent.
func (t *Target) Drop() { t.inFlight.Add(-1) }

// End says that a call has ended, and whether the target failed: an answer that is an error isn't a failure if it shows that the target works.
// The failure of so many calls in a row as Options says opens the breaker. A success closes it, if it comes after the target was
// picked again. Failures of one that is down don't count.
func (t *Target) End(failed bool) {
	t.inFlight.Add(-1)
	switch {
	case failed:
		t.fail()
	case t.failures.Load() != 0:
		t.succeed()
	}
}

// fail counts a failure, and opens the breaker if it is one too many.
func (t *Target) fail() {
	s := t.set
	if s.o.Failures < 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.up {
		return
	}
	n := t.failures.Add(1)
	switch {
	case t.open && t.tried:
		t.pause = min(2*t.pause, s.o.MaxPause)
	case t.open, n < int64(s.o.Failures):
		return
	default:
		t.open, t.pause = true, s.o.Pause
	}
	t.tried = false
	t.retry.Store(int64(s.clock() + t.pause))
	s.publish()
}

// claim reports whether the target is to be tried now, and that by the caller alone until another pause is over.
func (t *Target) claim(now time.Duration) bool {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	if !t.up || !t.open || int64(now) < t.retry.Load() {
		return false
	}
	t.tried = true
	t.retry.Store(int64(now + t.pause))
	return true
}

// succeed forgets the failures.
func (t *Target) succeed() {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	if t.open && !t.tried {
		return // it began before the failures
	}
	t.close()
}

// close closes the breaker. It is called with the set's lock held.
func (t *Target) close() {
	t.failures.Store(0)
	if t.open {
		t.open, t.tried = false, false
		t.set.publish()
	}
}

// Up says that the target can be reached. If it was down, its breaker closes and its failures are forgotten.
func (t *Target) Up() {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	if t.up {
		return
	}
	t.up = true
	t.close()
	t.set.publish()
}

// Down says that the target can't be reached. It isn't picked until Up is called.
func (t *Target) Down() {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	if !t.up {
		return
	}
	t.up = false
	t.set.publish()
}
