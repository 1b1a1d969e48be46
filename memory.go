package flyrpc

import (
	"sync"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// memory is what a connection sets aside for messages that are compressed or come in pieces.
type memory struct {
	inflating outflow // what may be inflated at the same time
	mu        sync.Mutex
	joins     flow.Turns[*Stream] // who may complete what came in pieces
}

// memory returns the connection's, which is made when it is first needed.
func (c *Conn) memory() *memory {
	if m := c.setAside.Load(); m != nil {
		return m
	}
	m := &memory{joins: flow.NewTurns[*Stream](maxJoins)}
	m.inflating.begin(c.ep.limits.maxMessage)
	c.setAside.CompareAndSwap(nil, m)
	return c.setAside.Load()
}
