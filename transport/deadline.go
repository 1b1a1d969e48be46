package transport

import (
	"sync"
	"time"
)

// deadline wakes those who wait on a cond when its time has come. The cond's
// lock guards it.
type deadline struct {
	expired bool
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
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		wake.Broadcast()
		return
	}
	set := d.set
	d.timer = time.AfterFunc(wait, func() { d.expire(wake, set) })
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
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
