package measure

import (
	"syscall"
	"time"
)

// sleep sleeps more exactly than time.Sleep, whose wake-ups the runtime rounds up to a
// millisecond when nothing else happens. It may wake early, when a signal comes.
func sleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
