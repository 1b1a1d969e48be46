package flyrpc_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"slices"

	"github.com/go-flyrpc/flyrpc"
)

// calculator is what the server can do, as its callers see it. A field may be replaced by another function in a test.
type calculator struct {
	Add   func(ctx context.Context, q *sum) (int, error)              `fly:"/calc/add"`
	Count func(ctx context.Context, n int) iter.Seq2[int, error]      `fly:"/calc/count"`
	Total func(ctx context.Context, items iter.Seq[int]) (int, error) `fly:"/calc/total"`
	Clear func(ctx context.Context) error                             `fly:"/calc/clear,oneway"`
}

// A client of a struct of functions, with the types of the handlers.
func ExampleBind() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/calc/add", add)
	srv.OnMessage("/calc/count", upTo)
	srv.OnMessage("/calc/total", func(items iter.Seq2[int, error]) (total int, err error) {
		for n, err := range items {
			if err != nil {
				return 0, err
			}
			total += n
		}
		return total, nil
	})
	srv.OnMessage("/calc/clear", func() {})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	var calc calculator
	if err := flyrpc.Bind(cli, &calc); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	fmt.Println(calc.Add(ctx, &sum{2, 3}))
	for n, err := range calc.Count(ctx, 2) {
		fmt.Println(n, err)
	}
	fmt.Println(calc.Total(ctx, slices.Values([]int{1, 2, 3})))
	fmt.Println(calc.Clear(ctx))
	// Output:
	// 5 <nil>
	// 1 <nil>
	// 2 <nil>
	// 6 <nil>
	// <nil>
}
