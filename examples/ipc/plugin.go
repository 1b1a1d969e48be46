package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// runPlugin serves the process that has started this one, and whoever connects to the socket, until the
// former closes the connection or is gone.
func runPlugin(ctx context.Context) error {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/upper", strings.ToUpper)
	srv.OnMessage("/greet", greet)
	srv.OnMessage("/carrier", func(ctx *flyrpc.Context) string { return ctx.Conn().LocalAddr().Network() })
	srv.OnMessage("/hang", hang)

	// A socket that a process has left behind which was killed is replaced.
	var unix transport.Unix
	l, err := unix.Listen(ctx, &url.URL{Scheme: "unix", Path: os.Getenv(inPlugin)})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	host, err := transport.Stdio() // from now on print to os.Stderr only
	if err != nil {
		return errors.Join(err, srv.Close(), <-served)
	}
	srv.ServeConn(host)
	err = srv.Shutdown(ctx) // which removes the socket
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// greet asks whoever calls for a name: calls go both ways.
func greet(ctx *flyrpc.Context) (string, error) {
	var name string
	if err := ctx.Call("/name", nil, &name); err != nil {
		return "", err
	}
	return "hello " + name, nil
}

// hang tells the caller that it has begun, and never ends by itself.
func hang(ctx *flyrpc.Context) error {
	if err := ctx.SendMessage("/begun", nil); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
