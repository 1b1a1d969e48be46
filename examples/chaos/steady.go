package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// slack is how much the client's process may have more in the end than before: what the runtime and idle workers take.
const (
	slackGoroutines = 8
	slackHeap       = 2 << 20 // bytes
)

// usage is what the client's process takes.
type usage struct {
	Goroutines int
	Heap       uint64 // bytes that are in use
}

// measure returns what the process takes now.
func measure() usage {
	runtime.GC()
	runtime.GC() // the first one only ages what pools have
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc}
}

// String returns it in words.
func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d KiB of memory", u.Goroutines, u.Heap>>10)
}

// grown says what of u is more than it was before.
func (u usage) grown(before usage) error {
	if u.Goroutines > before.Goroutines+slackGoroutines || u.Heap > before.Heap+slackHeap {
		return fmt.Errorf("the client has %v, and had %v", u, before)
	}
	return nil
}

// within asks again and again until ask has no complaint, and returns the last one when ctx ends, that of an ask which ctx itself has cut
// short only if there is no other.
func within(ctx context.Context, ask func() error) (complaint error) {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if complaint == nil || ctx.Err() == nil {
			complaint = err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return complaint
		}
	}
}

// connected complains unless each server has so many connections of the client, which are alive, and no other.
func (c cluster) connected(ctx context.Context, want int) (err error) {
	for _, n := range c {
		conns, failed := n.conns(ctx)
		if through := n.proxy.Conns(); failed != nil || conns != want || through != want {
			err = errors.Join(err, fmt.Errorf("server %s has %d connections, and %d go through its proxy; expected %d (%v)", n.name, conns, through, want, failed))
		}
	}
	return err
}

// conns asks a server, beside its proxy, how many connections it has but for the one that asks.
func (n *node) conns(ctx context.Context) (int, error) {
	cli, err := flyrpc.Dial(ctx, n.address(), nil)
	if err != nil {
		return 0, err
	}
	defer cli.Close()
	conns, err := flyrpc.Call[int](ctx, cli, "/conns", nil)
	return conns - 1, err
}
