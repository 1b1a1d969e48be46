package main

import (
	"context"
	"fmt"
	"net"

	"github.com/go-flyrpc/flyrpc"
)

// within connects the two ends with a pipe: any net.Conn will do, such as one of a serial line or of a
// tunnel that the program has built.
func within(ctx context.Context, srv *flyrpc.Server) error {
	near, far := net.Pipe()
	go srv.ServeConn(far) // returns when the connection has ended
	return greet(ctx, flyrpc.NewClientConn(near, nil), "within the process")
}

// reverse has the server dial: so one behind a firewall serves a client that can't reach it.
func reverse(ctx context.Context, srv *flyrpc.Server) error {
	l, err := net.Listen("tcp", "localhost:0") // the client's
	if err != nil {
		return err
	}
	defer l.Close()
	far, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return err
	}
	go srv.ServeConn(far)
	near, err := l.Accept()
	if err != nil {
		return err
	}
	return greet(ctx, flyrpc.NewClientConn(near, nil), "dialled by the server")
}

// greet calls the server and closes the client, and the connection that was given to it with it.
func greet(ctx context.Context, cli *flyrpc.Client, how string) error {
	defer cli.Close()
	greeting, err := flyrpc.Call[string](ctx, cli, "/greet", "Ada")
	if err != nil {
		return fmt.Errorf("%s: %w", how, err)
	}
	fmt.Printf("%s: %s\n", how, greeting)
	return nil
}
