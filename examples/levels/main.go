// Command levels shows the levels of the protocol, the lowest first: packets without a Conn, raw
// packets, packets, requests and responses, and handlers. All but the first share one connection.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"strings"
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

// run connects a client and a server over TCP and has them talk at each level.
func run(ctx context.Context) error {
	if err := bare(ctx); err != nil {
		return err
	}
	zip := flyrpc.Zip{Body: flyrpc.ZipZstd, MinBody: 100}
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Zip: zip})
	srv.OnMessage("/upper", strings.ToUpper)
	conns := make(chan *flyrpc.Conn, 1)
	srv.OnConnect(func(ctx *flyrpc.Context) error {
		conns <- ctx.Conn()
		return nil
	})
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	err = errors.Join(connect(ctx, l.Addr().String(), zip, conns), srv.Shutdown(ctx))
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// connect dials, and shows the levels on the connection, of which both ends have a Conn.
func connect(ctx context.Context, addr string, zip flyrpc.Zip, conns <-chan *flyrpc.Conn) error {
	cli, err := flyrpc.Dial(ctx, addr, &flyrpc.ClientOpts{Zip: zip})
	if err != nil {
		return err
	}
	defer cli.Close()
	client := cli.Conn()
	select {
	case server := <-conns:
		return errors.Join(raw(ctx, client, server), packets(ctx, client, server), requests(ctx, client, server), handlers(ctx, client))
	case <-ctx.Done():
		return ctx.Err()
	}
}
