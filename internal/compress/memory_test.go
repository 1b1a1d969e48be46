package compress_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

// peak measures how far the memory of the process grows. Where the system doesn't
// say, it is what the runtime has asked the system for, in its steps of 4 MiB.
type peak struct {
	exact bool
	base  int64
}

const runtimeStep = 4 << 20

func startPeak() (peak, error) {
	debug.FreeOSMemory()
	if runtime.GOOS != "linux" || raceEnabled {
		return peak{base: runtimeMemory()}, nil
	}
	// 5 makes the peak the present size.
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return peak{}, err
	}
	base, err := status("VmRSS:")
	return peak{exact: true, base: base}, err
}

// growth is how far memory has grown at most, and how much of that may be
// the measurement's coarseness.
func (p peak) growth() (n, slack int64, err error) {
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
