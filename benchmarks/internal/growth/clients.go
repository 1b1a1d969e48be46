package growth

import (
	"errors"
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// connections is many clients, closed together.
type connections []peers.Client

func (c connections) Close() error {
	var errs []error
	for _, client := range c {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}

// callers returns a caller on each connection.
func (c connections) callers(m *peers.Message) []func() (peers.Message, error) {
	list := make([]func() (peers.Message, error), len(c))
	for i, client := range c {
		list[i] = client.Caller(m)
	}
	return list
}

// spread is clients whose connections the callers share out.
type spread struct {
	connections
	callers int
	made    int
}

// Spread returns a client for a number of callers that share out the connections of clients. When
// there are more connections than callers, each caller takes turns with its own share of them.
func Spread(clients []peers.Client, callers int) peers.Client {
	return &spread{connections: clients, callers: callers}
}

// Caller is peers.Client's; it isn't for many goroutines at once.
func (s *spread) Caller(m *peers.Message) func() (peers.Message, error) {
	i, n := s.made, len(s.connections)
	s.made++
	var share connections
	for j := i % min(n, s.callers); j < n; j += s.callers {
		share = append(share, s.connections[j])
	}
	return inTurn(share.callers(m), new(atomic.Uint64))
}

// turns is clients whose connections are called in turn.
type turns struct {
	connections
	next atomic.Uint64
}

// Turns returns a client whose calls go to the connections of clients one after the other, whoever makes
// them: at a fixed rate, each connection has an even part of it.
func Turns(clients []peers.Client) peers.Client {
	return &turns{connections: clients}
}

// Caller is peers.Client's.
func (t *turns) Caller(m *peers.Message) func() (peers.Message, error) {
	return inTurn(t.callers(m), &t.next)
}

// inTurn returns a caller that makes the calls of a list one after the other.
func inTurn(list []func() (peers.Message, error), next *atomic.Uint64) func() (peers.Message, error) {
	return func() (peers.Message, error) {
		return list[(next.Add(1)-1)%uint64(len(list))]()
	}
}
