// Package growth serves and calls FlyRPC with more and more of one thing, to see what
// each of them costs.
package growth

import (
	"context"
	"fmt"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

// The axes: what there is more and more of.
const (
	Connections = "connections"
	Routes      = "routes"
	Flight      = "flight"     // calls that wait in the server at once
	Payload     = "payload"    // bytes of one message
	Neighbours  = "neighbours" // connections, beside one that floods the server
)

// The kinds of points on an axis that has more than one: the paths of Routes, and
// what floods the Neighbours.
const (
	Exact    = "exact"
	Patterns = "patterns"

	Alone    = "alone"
	Calls    = "calls"
	Messages = "messages"
)

const (
	// Name is that of the peer that grows.
	Name = "flyrpc-msgpack-handle"
	// MaxFlight is the most calls that can wait at once: one more is for asking how many there are.
	MaxFlight = 32_702 - 1
	// beside is what a message has beside its payload, in bytes, and more.
	beside = 1 << 10
	// notePath is where the messages of a flood go.
	notePath = "/note"
)

// Point is a place on an axis, measured in processes of its own.
type Point struct {
	Axis string
	Kind string // "" if the axis has no kinds
	N    int
}

// Peer returns the server and the clients of a point: FlyRPC with MessagePack, handlers given to
// Handle, and every default that the point doesn't exceed. Its clients echo.
func (p Point) Peer() (peers.Peer, error) {
	server, client := p.options()
	wrap := func(c *flyrpc.Client) peers.Client { return peers.FlyrpcClient{Client: c} }
	register := registerEcho
	switch p.Axis {
	case Connections, Payload:
	case Neighbours:
		register = registerNotes
	case Routes:
		register = func(s *flyrpc.Server) { registerRoutes(s, p) }
		wrap = func(c *flyrpc.Client) peers.Client { return newRouteClient(c, p) }
	case Flight:
		register = func(s *flyrpc.Server) { registerGate(s, p.N) }
		wrap = func(c *flyrpc.Client) peers.Client { return &FlightClient{peers.FlyrpcClient{Client: c}} }
	default:
		return peers.Peer{}, fmt.Errorf("there is no axis %q", p.Axis)
	}
	return peers.Peer{
		Name: Name,
		Serve: func() (*peers.Server, error) {
			srv := flyrpc.NewServer(server)
			register(srv)
			return peers.ServeFlyrpc(srv)
		},
		Dial: func(addr string) (peers.Client, error) {
			c, err := flyrpc.Dial(context.Background(), addr, client)
			if err != nil {
				return nil, err
			}
			return wrap(c), nil
		},
	}, nil
}

// options returns the defaults, and where the point exceeds them what it takes.
func (p Point) options() (*flyrpc.ServerOpts, *flyrpc.ClientOpts) {
	server := &flyrpc.ServerOpts{Serializers: []serializer.Serializer{msgpack.Serializer}}
	client := &flyrpc.ClientOpts{Serializer: msgpack.Serializer}
	switch p.Axis {
	case Payload:
		server.MaxMessage = max(flyrpc.DefaultMaxMessage, p.N+beside)
		client.MaxMessage = server.MaxMessage
	case Flight:
		server.MaxCalls = max(flyrpc.DefaultMaxCalls, p.N+1)
	}
	return server, client
}

func registerEcho(s *flyrpc.Server) {
	flyrpc.Handle(s, peers.FlyrpcPath, echo)
}

// registerNotes registers what takes messages, beside the echo.
func registerNotes(s *flyrpc.Server) {
	registerEcho(s)
	flyrpc.Handle(s, notePath, func(*flyrpc.Context, *peers.Message) (*peers.Message, error) { return nil, nil })
}

func echo(_ *flyrpc.Context, m *peers.Message) (*peers.Message, error) { return m, nil }
