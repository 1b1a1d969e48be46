// Command streams shows calls that send more than one message: a log that the server
// streams as it grows, an upload that reports its progress, and a chat in both directions.
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

// run serves on a free port of this machine and shows the three, one after the other.
func run(ctx context.Context) error {
	srv := flyrpc.NewServer(nil)
	journal := newJournal()
	srv.OnMessage("/log/tail", journal.tail)
	srv.OnMessage("/orders/import", importOrders)
	srv.OnMessage("/chat", new(room).join)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	addr := l.Addr().String()
	cli := flyrpc.NewClient(addr, nil)
	cli.OnMessage("/progress", showProgress)
	err = errors.Join(
		tailLog(ctx, cli, journal),
		sendOrders(ctx, cli),
		chat(ctx, addr),
		cli.Close(),
		srv.Shutdown(ctx),
	)
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
