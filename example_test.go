package flyrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

type sum struct{ A, B int }

// serveSums returns a server and a client of it, over a connection inside the process.
func serveSums() (*flyrpc.Server, *flyrpc.Client) {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/add", add)
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	return srv, flyrpc.NewClientConn(near, nil)
}

// add answers with the sum.
func add(q *sum) (int, error) { return q.A + q.B, nil }

// A server, and a client that calls it.
func ExampleServer() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/add", func(ctx *flyrpc.Context, q *sum) (int, error) {
		if q.A == 0 && q.B == 0 {
			return 0, flyrpc.Errorf(flyrpc.BadRequest, "nothing to add")
		}
		return q.A + q.B, nil
	})
	// A program has log.Fatal(srv.Listen(":7000")) here; this one connects without a network.
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	defer srv.Close()

	cli := flyrpc.NewClientConn(near, nil)
	defer cli.Close()
	ctx := context.Background()
	var total int
	err := cli.Call(ctx, "/add", sum{2, 3}, &total)
	fmt.Println(total, err)
	fmt.Println(cli.Call(ctx, "/add", sum{}, &total))
	// Output:
	// 5 <nil>
	// BAD_REQUEST: nothing to add
}

// Dial connects at once. The address is a URL, or a host:port.
func ExampleDial() {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Info: "sums 1.0"})
	srv.OnMessage("/add", add)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cli, err := flyrpc.Dial(ctx, "tcp://"+l.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cli.Close()
	var total int
	err = cli.Call(ctx, "/add", sum{2, 3}, &total)
	fmt.Println(total, err, string(cli.Conn().PeerInfo().Info))
	srv.Close()
	fmt.Println(<-served)
	// Output:
	// 5 <nil> "sums 1.0"
	// flyrpc: server closed
}

// Call returns the answer in the type that is asked for.
func ExampleCall() {
	srv, cli := serveSums()
	defer srv.Close()
	defer cli.Close()

	total, err := flyrpc.Call[int](context.Background(), cli, "/add", sum{20, 22})
	fmt.Println(total, err)
	// Output: 42 <nil>
}

// Several calls at once on one connection.
func ExampleClient_Go() {
	srv, cli := serveSums()
	defer srv.Close()
	defer cli.Close()

	ctx, totals := context.Background(), make([]int, 3)
	var calls []*flyrpc.Pending
	for i := range totals {
		calls = append(calls, cli.Go(ctx, "/add", sum{i, 10}, &totals[i]))
	}
	for i, call := range calls {
		err := call.Err() // waits
		fmt.Println(totals[i], err)
	}
	// Output:
	// 10 <nil>
	// 11 <nil>
	// 12 <nil>
}

// The server keeps the connection and sends to the client when it likes.
func ExampleConn_SendMessage() {
	srv := flyrpc.NewServer(nil)
	conns := make(chan *flyrpc.Conn, 1)
	srv.OnConnect(func(ctx *flyrpc.Context) error {
		conns <- ctx.Conn()
		return nil
	})
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	defer srv.Close()

	cli := flyrpc.NewClientConn(near, nil)
	defer cli.Close()
	shown := make(chan struct{})
	cli.OnMessage("/notice", func(text string) {
		fmt.Println("notice:", text)
		close(shown)
	})
	ctx := context.Background()
	if err := cli.Connect(ctx); err != nil {
		log.Fatal(err)
	}

	conn := <-conns
	if err := conn.SendMessage(ctx, "/notice", "lunch is ready"); err != nil {
		log.Fatal(err)
	}
	<-shown
	// Output: notice: lunch is ready
}

var errOutOfStock = errors.New("out of stock")

// Errors keep what they are across the wire: codes, and a program's own if both ends know them.
func ExampleError() {
	own := map[flyrpc.Code]error{"OUT_OF_STOCK": errOutOfStock}
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Errors: own})
	srv.OnMessage("/buy", func(item string) error { return fmt.Errorf("%s: %w", item, errOutOfStock) })
	srv.OnMessage("/sell", func(item string) error {
		return flyrpc.Errorf(flyrpc.Forbidden, "%s is not yours", item).WithDetails(map[string]int{"owner": 7})
	})
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	defer srv.Close()
	cli := flyrpc.NewClientConn(near, &flyrpc.ClientOpts{Errors: own})
	defer cli.Close()

	ctx := context.Background()
	err := cli.Call(ctx, "/buy", "tea", nil)
	fmt.Println(err, errors.Is(err, errOutOfStock))

	err = cli.Call(ctx, "/sell", "tea", nil)
	fmt.Println(err, errors.Is(err, flyrpc.Forbidden))
	var e *flyrpc.Error
	if errors.As(err, &e) {
		var details struct {
			Owner int `json:"owner"`
		}
		fmt.Println(e.Code, e.Remote(), e.DecodeDetails(&details), details.Owner)
	}
	// Output:
	// OUT_OF_STOCK: tea: out of stock true
	// FORBIDDEN: tea is not yours true
	// FORBIDDEN true <nil> 7
}

// What the two ends send each other is compressed as each one's options say, here with
// Zstandard from 2 KiB on.
func ExampleZip() {
	near, far := transport.Pipe(nil)
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Zip: flyrpc.Zip{Body: flyrpc.ZipZstd}})
	srv.OnMessage("/log", func() string { return strings.Repeat("all is well\n", 1000) })
	go srv.ServeConn(far)
	defer srv.Close()

	cli := flyrpc.NewClientConn(near, nil)
	defer cli.Close()
	ctx := context.Background()
	if err := cli.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	cli.Conn().OnRawPacket(func(p *flyrpc.Packet) bool {
		fmt.Println("fewer than 100 bytes came:", len(p.Payload) < 100)
		return false
	})
	text, err := flyrpc.Call[string](ctx, cli, "/log", nil)
	fmt.Println(len(text), "bytes,", err)
	// Output:
	// fewer than 100 bytes came: true
	// 12000 bytes, <nil>
}
