//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// roomFor says if this system doesn't let a process have n connections. Go has raised the limit as far as it goes when
// the program started, and does so in the server's process.
func roomFor(n int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("asking how many files may be open: %w", err)
	}
	const others = 50 // files that are no connections
	if need := uint64(n + others); uint64(l.Cur) < need {
		return fmt.Errorf("%d connections need %d open files, and this process may have %d: raise that with ulimit -n, or set -conns", n, need, l.Cur)
	}
	return nil
}
