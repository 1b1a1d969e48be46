// Command quickstart runs a server and a client in one program: calls in both
// directions, a message, a ping, and errors that keep their meaning.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

type lookup struct{ ID int }

type user struct {
	ID   int
	Name string
}

var errBanned = errors.New("this user is banned")

// appErrors are the program's own errors, by the codes they travel with.
func appErrors() map[flyrpc.Code]error { return map[flyrpc.Code]error{"BANNED": errBanned} }

func main() {
	srv := newServer()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, flyrpc.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := talk(ctx, l.Addr().String()); err != nil {
		log.Fatal(err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("server: shut down in order")
}

func newServer() *flyrpc.Server {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Errors: appErrors()})
	srv.OnMessage("/user/get", func(q *lookup) (*user, error) {
		switch q.ID {
		case 0:
			return nil, flyrpc.Errorf(flyrpc.BadRequest, "id is required")
		case 13:
			return nil, errBanned
		}
		return &user{q.ID, "Ada"}, nil
	})
	// A handler that calls the client that is calling it.
	srv.OnMessage("/greet", func(ctx *flyrpc.Context, name string) (string, error) {
		var mood string
		if err := ctx.Call("/mood", nil, &mood); err != nil {
			return "", err
		}
		return "hello " + mood + " " + name, nil
	})
	srv.OnMessage("/log/{level}", func(ctx *flyrpc.Context, line string) error {
		fmt.Printf("server: message, level %s: %s\n", ctx.Param("level"), line)
		return ctx.SendMessage("/notice", "your line was logged")
	})
	return srv
}

func talk(ctx context.Context, addr string) error {
	cli := flyrpc.NewClient(addr, &flyrpc.ClientOpts{Errors: appErrors()})
	defer cli.Close()
	noticed := make(chan struct{})
	cli.OnMessage("/mood", func() string { return "cheerful" })
	cli.OnMessage("/notice", func(text string) {
		fmt.Println("client: the server says:", text)
		close(noticed)
	})
	if err := cli.Connect(ctx); err != nil {
		return err
	}

	u, err := flyrpc.Call[user](ctx, cli, "/user/get", lookup{ID: 7})
	if err != nil {
		return err
	}
	fmt.Printf("client: user %d is %s\n", u.ID, u.Name)

	greeting, err := flyrpc.Call[string](ctx, cli, "/greet", "Bob")
	if err != nil {
		return err
	}
	fmt.Println("client:", greeting)

	if err := cli.SendMessage(ctx, "/log/info", "first line"); err != nil {
		return err
	}
	select {
	case <-noticed:
	case <-ctx.Done():
		return ctx.Err()
	}

	if _, err := cli.Ping(64, time.Second); err != nil {
		return err
	}
	fmt.Println("client: the server answers pings")

	err = cli.Call(ctx, "/user/get", lookup{}, nil)
	fmt.Printf("client: %v (a bad request: %t, %v)\n", err, errors.Is(err, flyrpc.BadRequest), flyrpc.Outcome(err))
	err = cli.Call(ctx, "/user/get", lookup{ID: 13}, nil)
	fmt.Printf("client: %v (the program's own error: %t)\n", err, errors.Is(err, errBanned))
	err = cli.Call(ctx, "/no/such/path", nil, nil)
	fmt.Printf("client: %v (%v)\n", err, flyrpc.Outcome(err))
	return nil
}
