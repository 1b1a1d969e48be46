package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// leastUrgent is the priority of a process that others go before.
const leastUrgent = 19

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
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, leastUrgent); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("thread %d: %w", id, err)
		}
	}
	return nil
}
