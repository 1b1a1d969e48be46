package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// idle is the scheduling policy SCHED_IDLE: any thread of another policy that wakes goes first at once. Beside one that is nice alone it
// waits until that has had its slice, of a millisecond or more.
const idle = 5

// yield makes the process one that others go before when there aren't cores enough. The threads that it starts later
// are so too.
func yield() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		var priority int32 // which has to be 0
		if _, _, err := syscall.Syscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(id), idle, uintptr(unsafe.Pointer(&priority))); err != 0 && err != syscall.ESRCH {
			return fmt.Errorf("thread %d: %w", id, err)
		}
	}
	return nil
}
