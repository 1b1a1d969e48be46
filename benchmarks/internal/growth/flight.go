package growth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

const (
	// waitPath is where calls wait for each other, and gatePath where it is asked for how many.
	waitPath = "/wait"
	gatePath = "/gate"
	// flightTimeout is how long it may take until all calls wait, or have returned.
	flightTimeout = 30 * time.Second
	pollTime      = time.Millisecond
)

// gate has calls wait until there are size of them, and then lets all of them through.
type gate struct {
	mu            sync.Mutex
	size, waiting int
	open          chan struct{} // closed to let those through that wait
}

// pass waits at the gate.
func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	open := g.open
	g.waiting++
	g.openIfFull()
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resize sets how many calls wait for each other, unless size is 0, and returns how many are waiting.
func (g *gate) resize(size int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if size > 0 {
		g.size = size
		g.openIfFull()
	}
	return g.waiting
}

// openIfFull lets everybody through if there are enough. The caller holds mu.
func (g *gate) openIfFull() {
	if g.waiting >= g.size {
		close(g.open)
		g.open, g.waiting = make(chan struct{}), 0
	}
}

// gateSize is what gatePath takes, and gateState what it answers.
type (
	gateSize  struct{ Size int }
	gateState struct{ Waiting int }
)

// registerGate registers a gate for n calls, beside the echo.
func registerGate(s *flyrpc.Server, n int) {
	g := &gate{size: n, open: make(chan struct{})}
	registerEcho(s)
	flyrpc.Handle(s, waitPath, func(ctx *flyrpc.Context, m *peers.Message) (*peers.Message, error) {
		return m, g.pass(ctx)
	})
	flyrpc.Handle(s, gatePath, func(_ *flyrpc.Context, q *gateSize) (*gateState, error) {
		return &gateState{g.resize(q.Size)}, nil
	})
}

// FlightClient has calls wait for each other in the server.
type FlightClient struct{ peers.FlyrpcClient }

// Batch is peers.Batcher's. n is what the server was made for: none of the calls is answered before
// all of them have come to their handlers.
func (c *FlightClient) Batch(m *peers.Message, n int) func() (peers.Message, error) {
	flight := newFlight(m, n)
	return func() (peers.Message, error) {
		late := time.AfterFunc(flightTimeout, func() { _ = c.Close() })
		defer late.Stop()
		flight.begin(c)
		return flight.end()
	}
}

// Hold has n calls wait in the server until release is called, which returns when all are answered.
func (c *FlightClient) Hold(m *peers.Message, n int) (release func() error, err error) {
	if _, err := c.gate(n + 1); err != nil {
		return nil, err
	}
	flight := newFlight(m, n)
	flight.begin(c)
	for begin := time.Now(); ; time.Sleep(pollTime) {
		waiting, err := c.gate(0)
		if err != nil {
			return nil, err
		}
		if waiting == n {
			break
		}
		if time.Since(begin) > flightTimeout {
			return nil, fmt.Errorf("%d of %d calls have come after %v", waiting, n, flightTimeout)
		}
	}
	return func() error {
		if _, err := c.gate(n); err != nil {
			return err
		}
		_, err := flight.end()
		return err
	}, nil
}

// gate sets the size of the server's gate, unless it is 0, and returns how many are waiting.
func (c *FlightClient) gate(size int) (int, error) {
	var state gateState
	err := c.Call(context.Background(), gatePath, gateSize{size}, &state)
	return state.Waiting, err
}

// flight is calls that are made together.
type flight struct {
	message *peers.Message
	calls   []*flyrpc.Pending
	replies []peers.Message
}

func newFlight(m *peers.Message, n int) *flight {
	return &flight{m, make([]*flyrpc.Pending, n), make([]peers.Message, n)}
}

// begin makes the calls.
func (f *flight) begin(c *FlightClient) {
	clear(f.replies)
	for i := range f.calls {
		f.calls[i] = c.Go(context.Background(), waitPath, f.message, &f.replies[i])
	}
}

// end waits for the answers, looks at each, and returns the last.
func (f *flight) end() (peers.Message, error) {
	for i, call := range f.calls {
		err := call.Err()
		if err == nil {
			err = f.message.Glance(&f.replies[i])
		}
		if err != nil {
			return peers.Message{}, fmt.Errorf("call %d of %d that wait together: %w", i+1, len(f.calls), err)
		}
	}
	return f.replies[len(f.replies)-1], nil
}
