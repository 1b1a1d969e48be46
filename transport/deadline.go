package transport

import (
	"sync"
	"time"
)

// deadline wakes those who wait on a cond when its time has come. The cond's
// lock guards it.
type deadline struct {
	expired bool      // the timer says that it is over
	at      time.Time // zero if there is none to come
	timer   *time.Timer
	set     uint64 // which setting is in force, so that a late timer knows it is stale
}

// reset sets the deadline to t: no deadline when zero, and expired at once when
// it has passed. The caller holds wake.L.
func (d *deadline) reset(wake *sync.Cond, t time.Time) {
	d.stop()
	d.expired = false
	if t.IsZero() {
		return
	}
	now := time.Now()
	wait := t.Sub(now)
	if wait <= 0 {
		d.expired = true
		wake.Broadcast()
		return
	}
	d.at = now.Add(wait)
	set := d.set
	d.timer = time.AfterFunc(wait, func() { d.expire(wake, set) })
}

// passed reports whether the deadline is over. The clock says so before the timer does where that is late, as when the process
// has not run for a while. The caller holds the lock.
func (d *deadline) passed() bool {
	return d.expired || !d.at.IsZero() && !time.Now().Before(d.at)
}

// expire is what the timer of that setting does.
func (d *deadline) expire(wake *sync.Cond, set uint64) {
	wake.L.Lock()
	defer wake.L.Unlock()
	if d.set == set {
		d.expired = true
		wake.Broadcast()
	}
}

// stop keeps the deadline as it is now: one that hasn't expired never will.
func (d *deadline) stop() {
	d.set++
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
