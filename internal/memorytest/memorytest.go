// Package memorytest measures the memory that code takes, for tests that hold it to a bound.
package memorytest

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
)

// Peak is a measurement that has begun. Where the system doesn't say how much memory a process has, or the race detector's is in it, what
// is measured is what the runtime has asked the system for.
type Peak struct {
	exact bool
	base  int64
}

// runtimeStep is how many bytes the runtime asks for at once.
const runtimeStep = 4 << 20

// Start begins to measure from what the process has now. One measurement at a time is possible in a process.
func Start() (Peak, error) {
	debug.FreeOSMemory()
	if runtime.GOOS != "linux" || RaceEnabled {
		return Peak{base: runtimeMemory()}, nil
	}
	// 5 makes the peak the present size.
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return Peak{}, err
	}
	base, err := status("VmRSS:")
	return Peak{exact: true, base: base}, err
}

// Growth is how many bytes memory has grown by at most since Start, and how many of them may be the measurement's coarseness.
func (p Peak) Growth() (n, slack int64, err error) {
	if !p.exact {
		return runtimeMemory() - p.base, runtimeStep, nil
	}
	high, err := status("VmHWM:")
	return high - p.base, 0, err
}

func runtimeMemory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

func status(key string) (int64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == key {
			kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", key)
}

// AllocsPerRun is the least of several measurements of testing.AllocsPerRun, which counts what is allocated in the whole process: also by
// what earlier tests have left running.
func AllocsPerRun(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for n := 0; least > 0 && n < 20; n++ {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
