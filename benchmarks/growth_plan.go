package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/growth"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

const (
	// growthCallers call together, on however many connections or routes.
	growthCallers = 128
	// maxPayloadCallers call with the smallest payloads; maxInFlight bounds those of large ones.
	maxPayloadCallers = 16
	// neighbours are the connections whose latency is measured beside a flood.
	neighbours = 16
)

// growthPlan is what to measure of growth.
type growthPlan struct {
	axes                            []string
	conns, routes, flight, payloads []int
	rate                            int // calls each second, on each of the neighbours
}

// flags adds the plan's flags, and returns what reads them once they are parsed.
func (g *growthPlan) flags(fs *flag.FlagSet) (read func() error) {
	axes := fs.String("growth", "connections,routes,flight,payload,neighbours", "what grows: `axes`")
	conns := fs.String("growth-conns", "1,10,100,1000,3000,9000", "`numbers` of connections")
	routes := fs.String("growth-routes", "1,100,1000,10000", "`numbers` of routes")
	flight := fs.String("growth-flight", "1,10,100,1000,10000,30000", "`numbers` of calls in flight on one connection")
	payloads := fs.String("growth-payload", "16,256,4096,65536,1048576,16777216,67108864", "`bytes` of payload")
	fs.IntVar(&g.rate, "growth-rate", 100, "calls each second on each connection beside a flood")
	return func() error {
		err := errors.Join(
			pick(&g.axes, *axes, []string{
				growth.Connections, growth.Routes, growth.Flight, growth.Payload, growth.Neighbours,
			}),
			numbers(&g.conns, *conns), numbers(&g.routes, *routes), numbers(&g.flight, *flight), numbers(&g.payloads, *payloads),
		)
		if err == nil && slices.Max(g.flight) > growth.MaxFlight {
			err = fmt.Errorf("-growth-flight is at most %d, what a connection carries at once", growth.MaxFlight)
		}
		if err == nil && g.rate < 1 {
			err = fmt.Errorf("-growth-rate is at least 1, not %d", g.rate)
		}
		return err
	}
}

// growthSettings returns the points of all axes that were picked.
func (p *plan) growthSettings() []Case {
	var list []Case
	for _, axis := range p.growth.axes {
		switch axis {
		case growth.Connections:
			list = append(list, p.points(axis, p.growth.conns, "")...)
		case growth.Routes:
			list = append(list, p.points(axis, p.growth.routes, growth.Exact, growth.Patterns)...)
		case growth.Flight:
			list = append(list, p.points(axis, p.growth.flight, "")...)
		case growth.Payload:
			list = append(list, p.points(axis, p.growth.payloads, "")...)
		case growth.Neighbours:
			list = append(list, p.points(axis, []int{neighbours}, growth.Alone, growth.Calls, growth.Messages)...)
		}
	}
	return list
}

// points returns the points of an axis: its kinds, and of each all numbers.
func (p *plan) points(axis string, numbers []int, kinds ...string) []Case {
	var list []Case
	for _, kind := range kinds {
		for _, n := range numbers {
			c := Case{
				Part: partGrowth, Peer: growth.Name, Mode: twoProcesses, Size: peers.Small, Callers: growthCallers, Time: p.time,
				Point: growth.Point{Axis: axis, Kind: kind, N: n},
			}
			switch axis {
			case growth.Connections:
				c.Conns = n
			case growth.Flight:
				c.Callers = n
			case growth.Payload:
				c.Size, c.Callers = n, max(1, min(maxPayloadCallers, maxInFlight/n))
			case growth.Neighbours:
				c.Conns, c.Callers, c.Rate = n, openCallers, n*p.growth.rate
			}
			list = append(list, c)
		}
	}
	return list
}

// growthTime returns about how long a point takes beside what it measures.
func growthTime(p growth.Point) time.Duration {
	switch p.Axis {
	case growth.Connections:
		return 2*settleTime + time.Duration(p.N)*time.Millisecond/2
	case growth.Flight:
		return time.Duration(p.N) * 50 * time.Microsecond
	}
	return 0
}
