package bustest_test

import (
	"testing"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/bustest"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// TestLoop checks everything that services ask of a Bus.
func TestLoop(t *testing.T) {
	bustest.Run(t, bustest.Config{Bubble: true, Ends: func(testing.TB) (a, b service.Bus) {
		l := new(loop)
		return &Loop{loop: l}, &Loop{loop: l}
	}})
}

// TestMembus checks what a bus is asked for that keeps messages, too.
func TestMembus(t *testing.T) {
	bustest.Run(t, bustest.Config{
		Bubble: true,
		Ends: func(testing.TB) (a, b service.Bus) {
			one := membus.New(nil)
			return one, one.Join()
		},
	})
}
