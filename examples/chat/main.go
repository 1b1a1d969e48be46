// Command chat has several clients in one hall: the server tells all of them what one says, asks each
// of them something and collects the answers, and says who comes and who leaves.
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

// run serves the hall on a free port of this machine and has some people meet there.
func run(ctx context.Context) error {
	srv := flyrpc.NewServer(nil)
	newHall(srv)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	err = errors.Join(meet(ctx, l.Addr().String()), srv.Shutdown(ctx))
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
