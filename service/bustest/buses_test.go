package bustest_test

import (
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/bustest"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// TestLoop checks everything that services ask of a Bus.
func TestLoop(t *testing.T) {
	bustest.Run(t, bustest.Config{Ends: func(testing.TB) (a, b service.Bus) {
		l := new(loop)
		return &Loop{loop: l}, &Loop{loop: l}
	}})
}

// TestMembus checks what a bus is asked for that keeps messages, too.
func TestMembus(t *testing.T) {
	bustest.Run(t, bustest.Config{
		AckWait: 600 * time.Millisecond,
		Ends: func(testing.TB) (a, b service.Bus) {
			one := membus.New(nil)
			return one, one.Join()
		},
	})
}
