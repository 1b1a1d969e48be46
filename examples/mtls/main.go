// Command mtls has client and server show each other certificates: who has none of the right
// authority doesn't get in, and the handlers know who calls.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
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

// run makes the certificates, serves on a free port of this machine and has some clients try to get in.
func run(ctx context.Context) error {
	ours, err := newAuthority("our authority")
	if err != nil {
		return err
	}
	srv, err := newServer(ours)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }() // with ServerOpts.TLS every listener speaks TLS

	err = errors.Join(try(ctx, l.Addr().String(), ours), srv.Shutdown(ctx))
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// newServer returns a server that lets in who has a certificate of ours.
func newServer(ours *authority) (*flyrpc.Server, error) {
	cert, err := ours.server()
	if err != nil {
		return nil, err
	}
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{cert},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    ours.pool(),
		},
		Auth:   identify,
		Logger: slog.New(slog.DiscardHandler), // it would say whom it refuses, as their own errors do here
	})
	routes(srv.Router)
	return srv, nil
}
