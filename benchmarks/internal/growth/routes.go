package growth

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/measure"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

const (
	// costPath is where a server tells what its routes took.
	costPath = "/cost"
	// patternPaths is how many paths are called that patterns stand for, however many patterns there are.
	patternPaths = 16_384
)

// RouteCost is what a server took before the first call.
type RouteCost struct {
	// Time is how long all routes took to register.
	Time time.Duration
	// Before is what the server's process held before that, in bytes in use by Go.
	Before uint64
}

// registerRoutes registers the routes of a point, and one more that tells what they took.
func registerRoutes(s *flyrpc.Server, p Point) {
	cost := RouteCost{Before: measure.ReadMemory().Go}
	begin := time.Now()
	for i := range p.N {
		flyrpc.Handle(s, routePath(p.Kind, i), echo)
	}
	cost.Time = time.Since(begin)
	flyrpc.Handle(s, costPath, func(*flyrpc.Context, *struct{}) (*RouteCost, error) { return &cost, nil })
}

// routePath returns the path or pattern of route i.
func routePath(kind string, i int) string {
	if kind == Patterns {
		return fmt.Sprintf("/routes/%d/users/{user}/posts/{post}", i)
	}
	return fmt.Sprintf("/routes/%d/get", i)
}

// routePaths returns the paths that are called.
func routePaths(p Point) []string {
	if p.Kind != Patterns {
		paths := make([]string, p.N)
		for i := range paths {
			paths[i] = routePath(p.Kind, i)
		}
		return paths
	}
	paths := make([]string, patternPaths)
	for i := range paths {
		paths[i] = fmt.Sprintf("/routes/%d/users/u%d/posts/p%d", i%p.N, i, i)
	}
	return paths
}

// RouteClient calls routes at random.
type RouteClient struct {
	*flyrpc.Client
	paths   []string
	callers atomic.Uint64
}

func newRouteClient(c *flyrpc.Client, p Point) *RouteClient {
	return &RouteClient{Client: c, paths: routePaths(p)}
}

// Caller is peers.Client's. Each caller has a sequence of paths of its own, the same in every run.
func (c *RouteClient) Caller(m *peers.Message) func() (peers.Message, error) {
	random := rand.New(rand.NewPCG(c.callers.Add(1), 0))
	ctx := context.Background()
	return func() (peers.Message, error) {
		var reply peers.Message
		err := c.Call(ctx, c.paths[random.IntN(len(c.paths))], m, &reply)
		return reply, err
	}
}

// Cost asks the server what its routes took.
func (c *RouteClient) Cost() (cost RouteCost, err error) {
	err = c.Call(context.Background(), costPath, struct{}{}, &cost)
	return cost, err
}
