package flyrpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// connect returns a client of srv over a connection inside the process.
func connect(srv *flyrpc.Server, opts *flyrpc.ClientOpts) *flyrpc.Client {
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	return flyrpc.NewClientConn(near, opts)
}

// Metadata goes beside the message, in both directions.
func ExampleWithMeta() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/greet", func(ctx *flyrpc.Context, name string) (string, error) {
		if err := ctx.SetMeta("served-by", "greeter 1"); err != nil {
			return "", err
		}
		if ctx.Meta().Get("lang") == "es" {
			return "Hola, " + name, nil
		}
		return "Hello, " + name, nil
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	var answered flyrpc.Metadata
	ctx := flyrpc.WithMeta(context.Background(), "lang", "es")
	ctx = flyrpc.WithReplyMeta(ctx, &answered)
	greeting, err := flyrpc.Call[string](ctx, cli, "/greet", "Ada")
	fmt.Println(greeting, err)
	fmt.Println(answered.Get("served-by"))
	// Output:
	// Hola, Ada <nil>
	// greeter 1
}

// A client shows credentials, and handlers see who it is.
func ExampleServerOpts_auth() {
	type credentials struct{ Token string }
	users := map[string]string{"s3cret": "ada"}
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		Auth: func(_ context.Context, c *flyrpc.Credentials) (any, error) {
			var given credentials
			if err := c.Decode(&given); err != nil {
				return nil, err
			}
			user, ok := users[given.Token]
			if !ok {
				return nil, errors.New("unknown token")
			}
			return user, nil
		},
	})
	srv.OnMessage("/whoami", func(ctx *flyrpc.Context) string { return ctx.Conn().Identity().(string) })
	defer srv.Close()

	for _, token := range []string{"s3cret", "guess"} {
		cli := connect(srv, &flyrpc.ClientOpts{Auth: credentials{token}})
		who, err := flyrpc.Call[string](context.Background(), cli, "/whoami", nil)
		fmt.Printf("%q %v %v\n", who, err, errors.Is(err, flyrpc.Unauthenticated))
		cli.Close()
	}
	// Output:
	// "ada" <nil> false
	// "" UNAUTHENTICATED: unknown token true
}

// Outcome tells whether a call that failed may be made again.
func ExampleOutcome() {
	srv := flyrpc.NewServer(nil)
	ctx, giveUp := context.WithCancel(context.Background())
	srv.OnMessage("/pay", func(c *flyrpc.Context, amount int) error {
		giveUp() // the caller loses patience meanwhile
		<-c.Done()
		return c.Err()
	})
	srv.OnMessage("/full", func() error { return flyrpc.Busy })
	cli := connect(srv, nil)
	defer srv.Close()

	fmt.Println(flyrpc.Outcome(cli.Call(context.Background(), "/nowhere", nil, nil)))
	fmt.Println(flyrpc.Outcome(cli.Call(context.Background(), "/full", nil, nil)))
	fmt.Println(flyrpc.Outcome(cli.Call(ctx, "/pay", 100, nil)))
	cli.Close()
	fmt.Println(flyrpc.Outcome(cli.Call(context.Background(), "/pay", 100, nil)))
	// Output:
	// NotProcessed
	// Answered
	// Unknown
	// NotSent
}

// An interceptor repeats what the server surely hasn't done.
func ExampleInterceptor() {
	var tries int
	retry := func(next flyrpc.Invoker) flyrpc.Invoker {
		return func(ctx context.Context, call *flyrpc.Outgoing) error {
			for {
				tries++
				err := next(ctx, call)
				again := flyrpc.Outcome(err) == flyrpc.NotSent || flyrpc.Outcome(err) == flyrpc.NotProcessed
				if err == nil || !again || tries == 3 {
					return err
				}
			}
		}
	}
	srv := flyrpc.NewServer(nil)
	cli := connect(srv, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{retry}})
	defer srv.Close()
	defer cli.Close()

	err := cli.Call(context.Background(), "/missing", nil, nil)
	fmt.Println(tries, err)
	// Output: 3 NOT_FOUND: no handler for "/missing"
}

// One message for all clients.
func ExampleServer_Broadcast() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	var shown sync.WaitGroup
	for range 3 {
		cli := connect(srv, nil)
		defer cli.Close()
		shown.Add(1)
		cli.OnMessage("/news", func(text string) {
			fmt.Println(text)
			shown.Done()
		})
		if _, err := cli.Ping(0, time.Second); err != nil { // connects
			fmt.Println(err)
		}
	}
	err := srv.Broadcast("/news", "we have moved")
	shown.Wait()
	fmt.Println(err)
	// Output:
	// we have moved
	// we have moved
	// we have moved
	// <nil>
}

// Shutdown lets the calls end that are open.
func ExampleServer_Shutdown() {
	srv := flyrpc.NewServer(nil)
	working := make(chan struct{})
	srv.OnMessage("/work", func() string {
		close(working)
		time.Sleep(50 * time.Millisecond)
		return "done"
	})
	cli := connect(srv, nil)
	defer cli.Close()

	var result string
	call := cli.Go(context.Background(), "/work", nil, &result)
	<-working
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println("shutdown:", srv.Shutdown(ctx))
	err := call.Err()
	fmt.Println("the call:", result, err)
	fmt.Println(errors.Is(cli.Call(ctx, "/work", nil, nil), flyrpc.Unavailable))
	// Output:
	// shutdown: <nil>
	// the call: done <nil>
	// true
}
