package transport_test

import (
	"context"
	"fmt"
	"io"

	"github.com/go-flyrpc/flyrpc/transport"
)

// A connection inside the process, cut after four bytes.
func ExamplePipe() {
	a, b := transport.Pipe(nil)
	defer a.Close()
	defer b.Close()
	a.CloseAfter(4)
	n, err := a.Write([]byte("hello, world"))
	fmt.Println(n, err)
	got, err := io.ReadAll(b)
	fmt.Printf("%s: %v\n", got, err)
	// Output:
	// 4 write mem mem://pipe#a->mem://pipe#b: write: connection reset by peer
	// hell: read mem mem://pipe#b->mem://pipe#a: read: connection reset by peer
}

// A Table with a network inside the process beside TCP.
func ExampleMem() {
	table, err := transport.NewTable(transport.NewMem())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(table.Schemes())

	ctx := context.Background()
	l, err := table.Listen(ctx, "mem://orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	cli, err := table.Dial(ctx, "mem://orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(cli, "hello")
	cli.Close()

	srv, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	text, err := io.ReadAll(srv)
	fmt.Printf("%s %v\n", text, err)
	// Output:
	// [ipc mem tcp udp unix]
	// hello <nil>
}

// A scheme that the Table doesn't know is explained.
func ExampleTable_Dial() {
	table, err := transport.NewTable()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = table.Dial(context.Background(), "mem://orders")
	fmt.Println(err)
	// Output:
	// transport: address "mem://orders": unknown scheme "mem" (known: ipc, tcp, udp, unix); put a transport.NewMem() into Transports
}
