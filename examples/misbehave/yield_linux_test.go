package main

import (
	"syscall"
	"testing"
)

// TestYield: the thread that calls it, as all that are there, has the least priority.
func TestYield(t *testing.T) {
	if err := yield(); err != nil {
		t.Fatal(err)
	}
	p, err := syscall.Getpriority(syscall.PRIO_PROCESS, syscall.Getpid())
	if nice := 20 - p; err != nil || nice != leastUrgent { // the system returns 20 less the nice value
		t.Errorf("%d, %v", nice, err)
	}
}
