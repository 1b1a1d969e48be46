//go:build !linux

package measure

import "time"

// sleep sleeps as exactly as the runtime does.
func sleep(d time.Duration) { time.Sleep(d) }
