package flyrpc

import (
	"log/slog"
	"sync"
	"time"
)

// refusalPause is how long nothing is said of refused connections after one was logged.
const refusalPause = time.Second

// refusals logs connections that didn't come through the handshake, so rarely that nobody can flood the log.
type refusals struct {
	mu      sync.Mutex
	next    time.Time
	skipped int // since the last one that was logged
}

// warn logs a refusal at Warn, and how many were not logged since the last; or counts it, if it comes
// within refusalPause, and logs it at Debug.
func (r *refusals) warn(log *slog.Logger, msg string, args ...any) {
	now := time.Now()
	r.mu.Lock()
	late := now.Before(r.next)
	skipped := r.skipped
	if late {
		r.skipped++
	} else {
		r.skipped, r.next = 0, now.Add(refusalPause)
	}
	r.mu.Unlock()
	if late {
		log.Debug(msg, args...)
		return
	}
	if skipped > 0 {
		args = append(args, "others", skipped)
	}
	log.Warn(msg, args...)
}
