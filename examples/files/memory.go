package main

import (
	"context"
	"fmt"
	"os"
	"runtime/metrics"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// peakMemory returns the most memory that this process has had, in bytes: what the system counts,
// on Linux, and elsewhere what the Go runtime has ever got from it, which may be more.
func peakMemory() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// judgeMemory prints how much memory the two processes have had and fails if it was too much.
func judgeMemory(ctx context.Context, cli *flyrpc.Client) error {
	server, err := flyrpc.Call[int64](ctx, cli, "/memory", nil)
	if err != nil {
		return err
	}
	client := peakMemory()
	fmt.Printf("peak memory: client %.1f MiB, server %.1f MiB\n", mib(client), mib(server))
	if most := mib(max(client, server)); most > *limit {
		return fmt.Errorf("%.1f MiB of memory is more than %g", most, *limit)
	}
	return nil
}
