package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/go-flyrpc/flyrpc"
)

type order struct {
	Item  string
	Cents int
}

// batch says what is about to be uploaded.
type batch struct{ Count int }

type progress struct{ Done, Count int }

// importOrders adds orders up as they come. The batch is the call's message, the orders are
// its items: memory holds a few of them, however many there are.
func importOrders(ctx *flyrpc.Context, b *batch, orders iter.Seq2[order, error]) (int, error) {
	cents, done := 0, 0
	for o, err := range orders {
		if err != nil {
			return 0, err // the client gave up, or is gone
		}
		cents += o.Cents
		done++
		if done%250 == 0 {
			// A handler may call its caller. A call, unlike a message, has been handled when
			// it returns, so no progress is shown after the sum.
			if err := ctx.Call("/progress", progress{done, b.Count}, nil); err != nil {
				return 0, err
			}
		}
	}
	return cents, nil
}

// showProgress is the client's own handler: the server calls it.
func showProgress(p *progress) {
	fmt.Printf("client: %d of %d orders are in\n", p.Done, p.Count)
}

// sendOrders uploads a thousand orders.
func sendOrders(ctx context.Context, cli *flyrpc.Client) error {
	const count = 1000
	// Upload takes an order from the sequence when the server has room for it.
	orders := func(yield func(order) bool) {
		for i := range count {
			if !yield(order{fmt.Sprintf("item %d", i), 199}) {
				return
			}
		}
	}
	cents, err := flyrpc.Upload[int](ctx, cli, "/orders/import", batch{count}, orders)
	if err != nil {
		return err
	}
	fmt.Printf("client: the sum is %d.%02d\n", cents/100, cents%100)
	return nil
}
