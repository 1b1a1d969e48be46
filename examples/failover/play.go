package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

// play is what happens to the servers, and what the client makes of it.
type play struct {
	servers []*node
	cli     *flyrpc.Client
	back    chan string // names of servers that the client has connected to

	mu      sync.Mutex
	at      chan string   // servers that work on something, and wait
	release chan struct{} // closed when they may go on
}

// connected is told of every connection, before the client uses it. Here it could subscribe to something, for example.
func (p *play) connected(ctx context.Context, conn *flyrpc.Conn) error {
	name, err := flyrpc.Call[string](ctx, conn, "/who", nil)
	if err == nil {
		p.back <- name
	}
	return err
}

// await waits until the client uses so many connections more.
func (p *play) await(ctx context.Context, n int) error {
	waiting := map[string]bool{}
	for range n {
		select {
		case name := <-p.back:
			waiting[name] = true
		case <-ctx.Done():
			return fmt.Errorf("waiting for a connection: %w", ctx.Err())
		}
	}
	for len(waiting) > 0 { // they are about to be used
		count, err := p.who(ctx, 1)
		if err != nil {
			return err
		}
		maps.DeleteFunc(waiting, func(name string, _ bool) bool { return count[name] > 0 })
	}
	return nil
}

// hold has servers that work wait from now on. It returns where their names come, and what lets them go on.
func (p *play) hold() (at <-chan string, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.release = make(chan string, 100), make(chan struct{})
	return p.at, sync.OnceFunc(func() { close(p.release) })
}

// working is called by a server that works on something.
func (p *play) working(ctx context.Context, name string) error {
	p.mu.Lock()
	at, release := p.at, p.release
	p.mu.Unlock()
	at <- name
	select {
	case <-release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// who makes n calls and counts who answers.
func (p *play) who(ctx context.Context, n int) (map[string]int, error) {
	count := map[string]int{}
	for range n {
		name, err := flyrpc.Call[string](ctx, p.cli, "/who", nil)
		if err != nil {
			return nil, err
		}
		count[name]++
	}
	return count, nil
}

// names returns who has answered at all.
func names(count map[string]int) []string { return slices.Sorted(maps.Keys(count)) }

// named returns the server of a name.
func (p *play) named(name string) *node {
	return p.servers[slices.IndexFunc(p.servers, func(n *node) bool { return n.name == name })]
}
