package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/growth"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/measure"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// manyEnough is from how many on what each holds in resident pages, or at all, is more than chance.
const manyEnough = 100

// The columns that only growth has.
const (
	colBusyGo    = "server after, Go B"
	colRegister  = "registering, µs"
	colRouteGo   = "server, Go B a route"
	colMiB       = "MiB/s"
	colCPUKiB    = "CPU µs a KiB"
	colFlood     = "flood/s"
	colSharedCPU = "CPU µs of a call or message"
)

// grow measures a point of growth.
func grow(c Case, p peers.Peer, s *server) (Metrics, error) {
	m, err := growPoint(c, p, s)
	if err == nil && m[colRate] == 0 {
		err = fmt.Errorf("no call has returned within %v: measure for longer (-time)", c.Time)
	}
	return m, err
}

// growPoint measures what the axis of a point is about.
func growPoint(c Case, p peers.Peer, s *server) (Metrics, error) {
	switch c.Point.Axis {
	case growth.Connections:
		return growConnections(c, p, s)
	case growth.Neighbours:
		return growNeighbours(c, p, s)
	}
	client, err := p.Dial(s.addr)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := checkOne(client, peers.NewMessage(c.Size)); err != nil {
		return nil, err
	}
	switch client := client.(type) {
	case *growth.RouteClient:
		return growRoutes(c, client, s)
	case *growth.FlightClient:
		return growFlight(c, client, s)
	}
	m, err := closedLoad(c, client, s)
	if err != nil {
		return nil, err
	}
	m[colMiB] = m[colRate] * float64(c.Size) / (1 << 20)
	m[colCPUKiB] = m[colCPU] / float64(c.Size) * (1 << 10)
	return m, nil
}

// growConnections measures calls on connections that the callers share out, and what the server holds
// for them before and after. One connection goes before them, for what a process makes once.
func growConnections(c Case, p peers.Peer, s *server) (Metrics, error) {
	first, err := dialAll(p, s.addr, 1)
	defer closeAll(first)
	if err != nil {
		return nil, err
	}
	before, err := s.memory()
	if err != nil {
		return nil, err
	}
	clients, err := dialAll(p, s.addr, c.Conns)
	defer closeAll(clients)
	if err != nil {
		return nil, err
	}
	time.Sleep(settleTime)
	idle, err := s.memory()
	if err != nil {
		return nil, err
	}
	m, err := closedLoad(c, growth.Spread(clients, c.Callers), s)
	if err != nil {
		return nil, err
	}
	time.Sleep(settleTime)
	busy, err := s.memory()
	if err != nil {
		return nil, err
	}
	each(m, c.Conns, before, idle, colServerGo, colServerRes)
	each(m, c.Conns, before, busy, colBusyGo, "")
	return m, nil
}

// each adds what each of n holds to the metrics: always in bytes in use by Go, and in resident ones, which come in
// pages, if there are many.
func each(m Metrics, n int, before, after measure.Memory, inGo, resident string) {
	held := after.Minus(before)
	m[inGo] = float64(held.Go) / float64(n)
	if n >= manyEnough && resident != "" {
		m[resident] = float64(held.Resident) / float64(n)
	}
}

// growRoutes measures calls to random routes, and what it took to register them.
func growRoutes(c Case, client *growth.RouteClient, s *server) (Metrics, error) {
	cost, err := client.Cost()
	if err != nil {
		return nil, err
	}
	registered, err := s.memory()
	if err != nil {
		return nil, err
	}
	m, err := closedLoad(c, client, s)
	if err != nil {
		return nil, err
	}
	m[colRegister] = float64(cost.Time) / float64(time.Microsecond) / float64(c.Point.N)
	if c.Point.N >= manyEnough { // or most of it is the connection
		each(m, c.Point.N, measure.Memory{Go: cost.Before}, registered, colRouteGo, "")
	}
	return m, nil
}

// growFlight measures calls that come in waves, none of which is answered before all have come, and
// what both ends hold while one wave waits.
func growFlight(c Case, client *growth.FlightClient, s *server) (Metrics, error) {
	server1, err := s.memory()
	if err != nil {
		return nil, err
	}
	here1 := measure.ReadMemory()
	m, err := closedLoad(c, client, s)
	if err != nil {
		return nil, err
	}
	release, err := client.Hold(peers.NewMessage(c.Size), c.Callers)
	if err != nil {
		return nil, err
	}
	here2 := measure.ReadMemory()
	server2, err := s.memory()
	if err != nil {
		return nil, err
	}
	each(m, c.Callers, server1, server2, colServerGo, colServerRes)
	each(m, c.Callers, here1, here2, colClientGo, "")
	return m, release()
}

// growNeighbours measures calls at a fixed rate on some connections, while another process floods the
// server on one more, or doesn't.
func growNeighbours(c Case, p peers.Peer, s *server) (Metrics, error) {
	clients, err := dialAll(p, s.addr, c.Conns)
	defer closeAll(clients)
	if err != nil {
		return nil, err
	}
	f, err := startFlood(c, s.addr)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var made []int64 // by the flood, at the beginning and at the end
	load := c.load(growth.Turns(clients), s)
	load.Usage = func() (measure.Usage, error) {
		used, err := s.bothUsage()
		flooded, err2 := f.state()
		made = append(made, flooded.Made)
		return used.Plus(flooded.Used), errors.Join(err, err2)
	}
	result, err := load.Open(c.Rate)
	if err != nil {
		return nil, err
	}
	m, flooded := callMetrics(result), made[1]-made[0]
	all := float64(result.Latency.Total() + flooded)
	m[colSharedCPU] = float64(result.Used.CPU) / float64(time.Microsecond) / max(all, 1)
	if c.Point.Kind != growth.Alone {
		m[colFlood] = float64(flooded) / result.Time.Seconds()
	}
	return m, nil
}

// flood is a flood in another process, or none.
type flood struct {
	state func() (floodState, error)
	close func()
}

// floodState is what a flood has made, what that took, and what has ended it.
type floodState struct {
	Made int64
	Used measure.Usage
	Err  string
}

// startFlood starts a process that floods the server, if the case has one.
func startFlood(c Case, addr string) (*flood, error) {
	if c.Point.Kind == growth.Alone {
		return &flood{func() (floodState, error) { return floodState{}, nil }, func() {}}, nil
	}
	child, err := startChild(roleFlood, floodOrder{c.Point, addr})
	if err != nil {
		return nil, err
	}
	return &flood{
		state: func() (s floodState, err error) {
			err = child.ask(askUsage, &s)
			if err == nil && s.Err != "" {
				err = fmt.Errorf("the flood has ended: %s", s.Err)
			}
			return s, err
		},
		close: child.close,
	}, nil
}

// floodOrder is what a process that floods is told.
type floodOrder struct {
	Point growth.Point
	Addr  string
}

// floodServer floods a server until in ends, and answers each line in it with how far it is.
func floodServer(arg string, in io.Reader, out io.Writer) error {
	var order floodOrder
	if err := json.Unmarshal([]byte(arg), &order); err != nil {
		return err
	}
	f, err := growth.StartFlood(order.Point, order.Addr)
	if err != nil {
		return err
	}
	defer f.Close()
	answers := json.NewEncoder(out)
	for questions := bufio.NewScanner(in); questions.Scan(); {
		state := floodState{Used: measure.ReadUsage()}
		made, err := f.Made()
		if err != nil {
			state.Err = err.Error()
		}
		state.Made = made
		if err := answers.Encode(state); err != nil {
			return err
		}
	}
	return nil
}
