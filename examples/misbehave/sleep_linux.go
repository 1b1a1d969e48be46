package main

import (
	"syscall"
	"time"
)

// sleep waits at least for d. Go's own timers wait for whole milliseconds if nothing else happens, which is longer than a
// call takes.
func sleep(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		ts := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&ts, nil) // it may be interrupted
	}
}
