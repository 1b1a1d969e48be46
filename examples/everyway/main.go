// Everyway serves one handler to everybody: over TCP, WebSocket, HTTP and JSON commands on one port, and over UDP on the port of
// the same number. The script everyway.sh beside it calls the handler in each of these ways.
//
//	everyway ADDR        serve, on localhost:7000 for example
//	everyway call URL    call the handler by a Go client: tcp://, ws://, http:// or udp://
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// Lookup asks for a User.
type Lookup struct{ ID int }

// User is the answer.
type User struct {
	ID   int
	Name string
}

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		err = serve(ctx, args[0])
	case len(args) == 2 && args[0] == "call":
		err = call(args[1])
	default:
		err = errors.New("usage: everyway ADDR, or everyway call URL")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// newServer returns a server with the one handler.
func newServer() *flyrpc.Server {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Logger: slog.New(slog.DiscardHandler)})
	srv.OnMessage("/user/get", func(q *Lookup) (*User, error) {
		if q.ID == 0 {
			return nil, flyrpc.Errorf(flyrpc.BadRequest, "ID is required")
		}
		return &User{q.ID, "Ada"}, nil
	})
	return srv
}

// serve serves on addr, over TCP and UDP, until ctx ends.
func serve(ctx context.Context, addr string) error {
	srv := newServer()
	failed := make(chan error, 2)
	for _, scheme := range []string{"tcp", "udp"} {
		go func() { failed <- srv.Listen(scheme + "://" + addr) }()
	}
	select {
	case err := <-failed:
		srv.Close()
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}

// call calls the handler at url and prints its answer.
func call(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cli, err := flyrpc.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer cli.Close()
	u, err := flyrpc.Call[User](ctx, cli, "/user/get", Lookup{ID: 7})
	if err != nil {
		return err
	}
	fmt.Printf("%+v\n", u)
	return nil
}
