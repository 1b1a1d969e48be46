package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// visit is what a customer does, who is a service without subjects of its own.
func (r *restaurant) visit(ctx context.Context) error {
	svc, err := r.instance("customer")
	if err != nil {
		return err
	}
	if err := r.announce(ctx, svc.Service("board")); err != nil {
		return err
	}
	if err := dine(ctx, svc.Service("kitchen")); err != nil {
		return err
	}
	return read(ctx, svc.Service("archive"))
}

// announce sends a message to all boards, and waits until both have shown it.
func (r *restaurant) announce(ctx context.Context, boards *service.Client) error {
	if err := boards.Send(ctx, "announce", "we have opened"); err != nil {
		return err
	}
	var lines []string
	for range 2 {
		select {
		case line := <-r.shown:
			lines = append(lines, line)
		case <-ctx.Done():
			return fmt.Errorf("a board shows nothing: %w", ctx.Err())
		}
	}
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	return nil
}

// dine orders for twelve tables at once.
func dine(ctx context.Context, kitchen *service.Client) error {
	const tables = 12
	meals, errs := make([]meal, tables), make([]error, tables)
	var wg sync.WaitGroup
	for i := range tables {
		wg.Go(func() { errs[i] = kitchen.Request(ctx, "cook", order{i, "soup"}).Into(&meals[i]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	hot, cooks := 0, map[string]bool{}
	for _, m := range meals {
		if m.Dish == "hot soup" {
			hot++
			cooks[m.Cook] = true
		}
	}
	fmt.Println(hot, "tables have hot soup, each from one cook; several cooks have worked:", len(cooks) > 1)
	err := kitchen.Request(ctx, "cook", order{Table: 13}).Into(nil)
	fmt.Println("without a dish:", err)
	if !errors.Is(err, flyrpc.BadRequest) {
		return fmt.Errorf("an empty order was not refused: %w", err)
	}
	err = kitchen.Request(ctx, "wash", nil).Into(nil)
	fmt.Println("to nobody:", errors.Is(err, flyrpc.Unavailable), flyrpc.Outcome(err))
	return nil
}

// read streams a book of 32 MiB.
func read(ctx context.Context, archive *service.Client) error {
	var text io.ReadCloser
	if err := archive.Request(ctx, "book", "recipes").Into(&text); err != nil {
		return err
	}
	defer text.Close()
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, text)
	if err != nil {
		return err
	}
	fmt.Printf("the book has %d MiB, checksum %08x\n", n>>20, sum.Sum32())
	return nil
}
