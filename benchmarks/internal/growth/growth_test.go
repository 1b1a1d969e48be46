package growth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// dial returns n clients of a point, of one server, all of which end with the test. The
// address is the server's.
func dial(t *testing.T, p Point, n int) (clients []peers.Client, addr string) {
	t.Helper()
	peer, err := p.Peer()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := peer.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	for range n {
		c, err := peer.Dial(srv.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
	}
	return clients, srv.Addr
}

// check calls, and looks at the whole echo.
func check(t *testing.T, m *peers.Message, call func() (peers.Message, error)) {
	t.Helper()
	got, err := call()
	if err == nil {
		err = m.Check(&got)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestEcho has a client of every axis echo, with more than the defaults let through where there is more.
func TestEcho(t *testing.T) {
	const large = flyrpc.DefaultMaxMessage + 1
	for _, p := range []Point{
		{Connections, "", 1},
		{Routes, Exact, 1},
		{Routes, Patterns, 7},
		{Flight, "", 3},
		{Payload, "", large},
		{Neighbours, Alone, 1},
	} {
		t.Run(p.Axis+p.Kind, func(t *testing.T) {
			clients, _ := dial(t, p, 1)
			m := peers.NewMessage(peers.Small)
			if p.Axis == Payload {
				m = peers.NewMessage(p.N)
			}
			check(t, m, clients[0].Caller(m))
		})
	}
	if _, err := (Point{Axis: "height"}).Peer(); err == nil || !strings.Contains(err.Error(), `no axis "height"`) {
		t.Error(err)
	}
}

// TestRoutes calls so often that every route had its turn, and finds those beyond them missing.
func TestRoutes(t *testing.T) {
	for _, kind := range []string{Exact, Patterns} {
		t.Run(kind, func(t *testing.T) {
			p := Point{Routes, kind, 5}
			clients, _ := dial(t, p, 1)
			c, m := clients[0].(*RouteClient), peers.NewMessage(peers.Small)
			call := c.Caller(m)
			for range 100 {
				check(t, m, call)
			}
			cost, err := c.Cost()
			if err != nil || cost.Time <= 0 || cost.Before == 0 {
				t.Errorf("%+v, %v", cost, err)
			}
			beyond := newRouteClient(c.Client, Point{Routes, kind, 6})
			beyond.paths = slices.DeleteFunc(beyond.paths, func(path string) bool { return !strings.Contains(path, "/5/") })
			if _, err := beyond.Caller(m)(); !errors.Is(err, flyrpc.NotFound) {
				t.Errorf("route 6 of 5: %v", err)
			}
		})
	}
}

// TestRoutePaths wants every route among the paths, and as many paths whatever the number of patterns.
func TestRoutePaths(t *testing.T) {
	for p, want := range map[Point]int{
		{Routes, Exact, 3}: 3, {Routes, Patterns, 3}: patternPaths, {Routes, Patterns, 10_000}: patternPaths,
	} {
		paths := routePaths(p)
		slices.Sort(paths)
		if n := len(slices.Compact(paths)); n != want {
			t.Errorf("%+v has %d different paths, want %d", p, n, want)
		}
	}
}

// TestFlight has more calls in flight than the defaults allow, in waves and held.
func TestFlight(t *testing.T) {
	const n = flyrpc.DefaultMaxCalls + 100
	clients, _ := dial(t, Point{Flight, "", n}, 1)
	c, m := clients[0].(*FlightClient), peers.NewMessage(peers.Small)
	wave := c.Batch(m, n)
	check(t, m, wave)
	release, err := c.Hold(m, n)
	if err != nil {
		t.Fatal(err)
	}
	if waiting, err := c.gate(0); waiting != n || err != nil {
		t.Errorf("%d calls wait, %v", waiting, err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	check(t, m, wave)
}

// TestFlightEnds closes the connection on calls that wait for one that never comes.
func TestFlightEnds(t *testing.T) {
	clients, _ := dial(t, Point{Flight, "", 4}, 1)
	c, m := clients[0].(*FlightClient), peers.NewMessage(peers.Small)
	short := newFlight(m, 3)
	short.begin(c)
	for waiting := 0; waiting < 3; {
		var err error
		if waiting, err = c.gate(0); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close()
	if _, err := short.end(); err == nil || !strings.Contains(err.Error(), "call 1 of 3 that wait together") {
		t.Error(err)
	}
	if _, err := c.Hold(m, 3); err == nil {
		t.Error("calls wait on a connection that is closed")
	}
}

func TestGate(t *testing.T) {
	g := &gate{size: 3, open: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.pass(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var through sync.WaitGroup
	through.Go(func() {
		if err := g.pass(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for g.resize(0) != 2 {
		time.Sleep(pollTime)
	}
	if n := g.resize(2); n != 0 {
		t.Errorf("%d wait at a gate that has opened", n)
	}
	through.Wait()
}

// counter is a client that counts the calls made on it.
type counter struct {
	calls  int
	closed bool
}

func (c *counter) Caller(m *peers.Message) func() (peers.Message, error) {
	return func() (peers.Message, error) {
		c.calls++
		return *m, nil
	}
}

func (c *counter) Close() error {
	c.closed = true
	return nil
}

// count has callers of a client of n counters make rounds calls each, and returns how many each counter got.
func count(t *testing.T, n, callers, rounds int, of func([]peers.Client) peers.Client) []int {
	t.Helper()
	counters, clients := make([]*counter, n), make([]peers.Client, n)
	for i := range counters {
		counters[i] = new(counter)
		clients[i] = counters[i]
	}
	client, m := of(clients), peers.NewMessage(peers.Small)
	calls := make([]func() (peers.Message, error), callers)
	for i := range calls {
		calls[i] = client.Caller(m)
	}
	for range rounds {
		for _, call := range calls {
			check(t, m, call)
		}
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	got := make([]int, n)
	for i, c := range counters {
		got[i] = c.calls
		if !c.closed {
			t.Errorf("connection %d of %d isn't closed", i, n)
		}
	}
	return got
}

// TestSpread has callers share out fewer, as many and more connections than they are.
func TestSpread(t *testing.T) {
	for _, test := range []struct {
		conns, callers, rounds int
		want                   []int
	}{
		{1, 3, 2, []int{6}},
		{2, 3, 2, []int{4, 2}},
		{3, 3, 2, []int{2, 2, 2}},
		{5, 2, 6, []int{2, 3, 2, 3, 2}},
	} {
		spread := func(clients []peers.Client) peers.Client { return Spread(clients, test.callers) }
		if got := count(t, test.conns, test.callers, test.rounds, spread); !slices.Equal(got, test.want) {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

// TestTurns has few callers reach all connections evenly.
func TestTurns(t *testing.T) {
	if got := count(t, 4, 3, 8, Turns); !slices.Equal(got, []int{6, 6, 6, 6}) {
		t.Error(got)
	}
}

// TestFlood floods a server until enough has been made, and ends without an error.
func TestFlood(t *testing.T) {
	for _, kind := range []string{Calls, Messages} {
		t.Run(kind, func(t *testing.T) {
			p := Point{Neighbours, kind, 1}
			_, addr := dial(t, p, 0)
			f, err := StartFlood(p, addr)
			if err != nil {
				t.Fatal(err)
			}
			for made := int64(0); made < 10*flooders; time.Sleep(time.Millisecond) {
				if made, err = f.Made(); err != nil {
					t.Fatal(err)
				}
			}
			f.Close()
			if _, err := f.Made(); err != nil {
				t.Errorf("the end of a flood is no error: %v", err)
			}
		})
	}
	if _, err := StartFlood(Point{Neighbours, Alone, 1}, "127.0.0.1:1"); err == nil {
		t.Error("there is a flood of nothing")
	}
	if _, err := StartFlood(Point{Neighbours, Calls, 1}, "127.0.0.1:1"); err == nil {
		t.Error("there is a flood of nobody")
	}
}
