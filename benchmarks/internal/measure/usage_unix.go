//go:build unix && !freebsd && !dragonfly

package measure

import (
	"fmt"
	"syscall"
	"time"
)

// cpuTime returns the processor time of this process.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// AllowFiles lets this process, and those it starts, open n files.
func AllowFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= n {
		return nil
	}
	have := limit
	limit.Cur = n
	limit.Max = max(limit.Max, limit.Cur) // root may
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files are needed, the limit is %d (ulimit -n): %w", n, have.Max, err)
	}
	return nil
}
