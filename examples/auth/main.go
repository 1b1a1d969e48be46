// Command auth lets in who shows a token, and says by middleware who may call what.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
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

// run serves on a free port of this machine and has some people try what they may.
func run(ctx context.Context) error {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Auth: newAccounts().check})
	if err := routes(srv.Router, newLog()); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	err = errors.Join(try(ctx, l.Addr().String()), srv.Shutdown(ctx))
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// newLog returns a logger that leaves out what differs from run to run: time, duration, port.
func newLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case "path", "code", "identity":
				return a
			}
			return slog.Attr{}
		},
	}))
}

// try connects as each one and calls everything.
func try(ctx context.Context, addr string) error {
	for _, who := range []struct {
		name string
		auth any
	}{
		{"nobody", nil},
		{"a thief", credentials{Token: "guessed"}},
		{"Ada", credentials{Token: "ada's token"}},
		// A function is called for each connection: for tokens that don't live long.
		{"Bob", func(context.Context) (any, error) { return credentials{Token: "bob's token"}, nil }},
		{"Cy", credentials{Token: "cy's token"}},
	} {
		cli, err := flyrpc.Dial(ctx, addr, &flyrpc.ClientOpts{Auth: who.auth})
		if errors.Is(err, flyrpc.Unauthenticated) {
			fmt.Printf("%s is not let in: %v\n", who.name, err)
			continue
		} else if err != nil {
			return err
		}
		for _, path := range []string{"/whoami", "/article/7/edit", "/admin/stop", "/forgotten"} {
			var answer string
			err := cli.Call(ctx, path, nil, &answer)
			fmt.Printf("%s: %q %v\n", who.name, answer, err)
		}
		cli.Close()
	}
	return nil
}
