package main

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc"
)

// The test program is its servers as well, as the program starts what it is itself.
func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		main()
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each server would take a second to end
	goleak.VerifyTestMain(m)
}

// short is a run of a few seconds.
func short() config {
	return config{
		time: 3 * time.Second, every: 500 * time.Millisecond, hedge: 50 * time.Millisecond,
		conns: 1, workers: 4, think: 10 * time.Millisecond, rest: 15 * time.Second, seed: uint64(time.Now().UnixNano()),
	}
}

// Under chaos every outcome is true, whatever the strategy.
func TestChaos(t *testing.T) {
	for name, strategy := range map[string]flyrpc.Strategy{"robin": flyrpc.RoundRobin, "sticky": flyrpc.Sticky} {
		t.Run(name, func(t *testing.T) {
			c := short()
			c.strategy = strategy
			if err := run(t.Context(), c, t.Output()); err != nil {
				t.Error(err)
			}
		})
	}
}

// When servers are shut down in order, no call fails.
func TestRollingRestart(t *testing.T) {
	c := short()
	c.orderly, c.strategy = true, flyrpc.LeastInFlight
	if err := run(t.Context(), c, t.Output()); err != nil {
		t.Error(err)
	}
}
