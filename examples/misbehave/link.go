package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// inChild is the environment variable that makes this program one of its own children: the server, or the process that
// has the other connections. It is "server" and the server's patience, or "others" and the server's address.
const inChild = "FLYRPC_MISBEHAVE_CHILD"

// runChild is what a child does.
func runChild(text string) error {
	what, with, _ := strings.Cut(text, " ")
	switch what {
	case "server":
		patience, err := time.ParseDuration(with)
		if err != nil {
			return err
		}
		return runServer(patience)
	case "others":
		return runOthers(with)
	}
	return fmt.Errorf("%s is %q: expected server and a duration, or others and an address; leave it unset", inChild, text)
}

// startChild starts this program as a child, with more in its environment. What the Client calls goes to its standard input, and to the handlers there.
func startChild(what, with string, env ...string) (*flyrpc.Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), env...), inChild+"="+what+" "+with)
	cmd.Stderr = os.Stderr
	conn, err := transport.StartChild(cmd, nil)
	if err != nil {
		return nil, err
	}
	return flyrpc.NewClientConn(conn, &flyrpc.ClientOpts{MaxMessage: 64 << 20}), nil
}

// server is the server's process, seen from the one that measures. The Client asks it how it does.
type server struct {
	*flyrpc.Client
	addr string
}

// startServer starts the server.
func startServer(ctx context.Context, patience time.Duration, gogc string) (*server, error) {
	cli, err := startChild("server", patience.String(), "GOGC="+gogc)
	if err != nil {
		return nil, err
	}
	s := &server{Client: cli}
	if s.addr, err = flyrpc.Call[string](ctx, s, "/addr", nil); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// state asks the server how it does.
func (s *server) state(ctx context.Context) (*state, error) {
	return flyrpc.Call[*state](ctx, s, "/state", nil)
}

// others is the process of the other connections, seen from the one that measures.
type others struct{ *flyrpc.Client }

// startOthers starts it. It has no connection yet.
func startOthers(addr string) (*others, error) {
	cli, err := startChild("others", addr)
	if err != nil {
		return nil, err
	}
	return &others{cli}, nil
}

// order is what the other connections are told.
type order struct {
	Conns int    // how many there are
	Way   string // what the names of the ways contain in which they misbehave
}

// yield has it wait for cores while others have work.
func (o *others) yield(ctx context.Context) error { return o.Call(ctx, "/yield", nil, nil) }

// idle has it make n connections that behave. It returns when they are there.
func (o *others) idle(ctx context.Context, n int) error {
	return o.Call(ctx, "/idle", order{Conns: n}, nil)
}

// misbehave has it close those, and make n that misbehave from then on.
func (o *others) misbehave(ctx context.Context, n int, way string) error {
	return o.Call(ctx, "/misbehave", order{n, way}, nil)
}

// end has it close all of them, and returns which there have been, by their addresses.
func (o *others) end(ctx context.Context) (map[string][]*session, error) {
	return flyrpc.Call[map[string][]*session](ctx, o, "/end", nil)
}
