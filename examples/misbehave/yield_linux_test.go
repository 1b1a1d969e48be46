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
	policy, _, errno := syscall.Syscall(syscall.SYS_SCHED_GETSCHEDULER, uintptr(syscall.Getpid()), 0, 0)
	if errno != 0 || policy != idle {
		t.Errorf("the policy is %d (%v), want %d", policy, errno, idle)
	}
}
