package main

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// server is the server's process, seen from the other one. The Client asks it how it does.
type server struct {
	*flyrpc.Client
	addr string
}

// startServer starts the server.
func startServer(ctx context.Context, patience time.Duration) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), inServer+"="+patience.String())
	cmd.Stderr = os.Stderr
	conn, err := transport.StartChild(cmd, nil)
	if err != nil {
		return nil, err
	}
	s := &server{Client: flyrpc.NewClientConn(conn, &flyrpc.ClientOpts{MaxMessage: 64 << 20})}
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
