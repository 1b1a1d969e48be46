package measure

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// Usage is what a process has used since it began.
type Usage struct {
	CPU     time.Duration
	Mallocs uint64
	Alloced uint64 // bytes
	Writes  uint64 // write calls
	Written uint64 // bytes, in those
}

// ReadUsage returns what this process has used. It stops all goroutines for a moment.
func ReadUsage() Usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := Usage{CPU: cpuTime(), Mallocs: m.Mallocs, Alloced: m.TotalAlloc}
	u.Writes, u.Written = written()
	return u
}

// Plus adds two processes up.
func (u Usage) Plus(v Usage) Usage {
	return Usage{u.CPU + v.CPU, u.Mallocs + v.Mallocs, u.Alloced + v.Alloced, u.Writes + v.Writes, u.Written + v.Written}
}

// Minus returns what was used since v.
func (u Usage) Minus(v Usage) Usage {
	return Usage{u.CPU - v.CPU, u.Mallocs - v.Mallocs, u.Alloced - v.Alloced, u.Writes - v.Writes, u.Written - v.Written}
}

// written returns the write calls of this process and their bytes, as Linux
// counts them; elsewhere, zeros.
func written() (calls, size uint64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(text) {
		_, _ = fmt.Sscanf(string(line), "wchar: %d", &size)
		_, _ = fmt.Sscanf(string(line), "syscw: %d", &calls)
	}
	return calls, size
}

// Memory is what a process holds, in bytes.
type Memory struct {
	Go       uint64 // in use on the heap and on stacks, after a collection
	Resident uint64 // what the system counts, 0 if it doesn't say
}

// ReadMemory collects garbage, gives what is free back to the system, and returns
// what this process holds.
func ReadMemory() Memory {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Memory{m.HeapAlloc + m.StackInuse, resident()}
}

// Minus returns what came since v, at least 0.
func (m Memory) Minus(v Memory) Memory {
	return Memory{m.Go - min(m.Go, v.Go), m.Resident - min(m.Resident, v.Resident)}
}

// resident reads the resident pages of this process, as Linux counts them.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages uint64
	_, _ = fmt.Sscan(string(text), &size, &pages)
	return pages * uint64(os.Getpagesize())
}
