package service_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// A lone caller, which reads its answers itself, and many at once take turns; some give up, some send much, and handlers are slow at times. All
// get their own answers.
func TestTurns(t *testing.T) {
	bus := membus.New(nil)
	defer bus.Close()
	s, caller := service.New("s", bus.Join(), nil), service.New("caller", bus.Join(), nil)
	defer s.Close()
	defer caller.Close()
	err := s.QueueBind("echo").To(func(ctx *flyrpc.Context, b []byte) []byte {
		if len(b) > 0 && b[0] == 0 {
			time.Sleep(2 * time.Millisecond)
		}
		return b
	})
	if err != nil {
		t.Fatal(err)
	}
	c := caller.Service("s")
	call := func(rnd *rand.Rand) {
		size := 1 + rnd.IntN(100)
		if rnd.IntN(50) == 0 {
			size = rnd.IntN(100 << 10)
		}
		data, wait := make([]byte, size), 30*time.Second
		for i := range data {
			data[i] = byte(rnd.Uint32() | 1)
		}
		if size > 0 && rnd.IntN(100) == 0 {
			data[0] = 0 // slow
		}
		if rnd.IntN(20) == 0 {
			wait = time.Duration(rnd.IntN(int(time.Millisecond))) + 1
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		got, err := flyrpc.Call[[]byte](ctx, c, "echo", data)
		switch {
		case errors.Is(err, flyrpc.Timeout) && wait < time.Second:
		case err != nil:
			t.Error(err)
		case string(got) != string(data):
			t.Errorf("%d bytes came back as others, %d", len(data), len(got))
		}
	}
	for round := range uint64(8) {
		var wg sync.WaitGroup
		for i := range uint64(1 + round%2*7) {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(round, i))
				for range 100 {
					call(rnd)
				}
			})
		}
		wg.Wait()
	}
}
