// Command proxy shows connections that FlyRPC doesn't make itself: one within the process, one that a
// server dials to its client, and one through an HTTP proxy that only lets some addresses through.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port of this machine and reaches the server in three ways.
func run(ctx context.Context) error {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/greet", func(name string) string { return "hello " + name })
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	err = errors.Join(
		within(ctx, srv),
		reverse(ctx, srv),
		throughProxy(ctx, l.Addr().String()),
		srv.Shutdown(ctx),
	)
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
