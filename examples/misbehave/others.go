package main

import (
	"context"
	"errors"
	"sync"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// otherConns is what the process of the other connections has: idle ones or a mob.
type otherConns struct {
	addr string
	book *book

	mu   sync.Mutex
	idle *clients // nil if there are none
	mob  *mob     // nil if there is none
}

// runOthers makes connections to a server, as the program that has started it says on standard input, until that closes it.
// They have a process of their own so that what they do doesn't hold up the good calls where those are made.
func runOthers(addr string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := &otherConns{addr: addr, book: newBook()}
	control := flyrpc.NewServer(nil)
	control.OnMessage("/yield", yield)
	control.OnMessage("/idle", func(w *order) error { return o.connect(ctx, w) })
	control.OnMessage("/misbehave", func(w *order) { o.misbehave(ctx, w) })
	control.OnMessage("/end", func(call context.Context) map[string][]*session { return o.end(call) })
	conn, err := transport.Stdio()
	if err == nil {
		control.ServeConn(conn)
	}
	cancel() // who could say when to end has gone
	o.end(ctx)
	return errors.Join(err, control.Close())
}

// connect makes connections that are idle, in place of a mob.
func (o *otherConns) connect(ctx context.Context, w *order) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeAll(ctx)
	var err error
	o.idle, err = connect(ctx, o.addr, w.Conns, o.book, "idle")
	return err
}

// misbehave replaces those by ones that misbehave.
func (o *otherConns) misbehave(ctx context.Context, w *order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeAll(ctx)
	o.mob = startMob(ctx, o.addr, w.Conns, ways(w.Way), o.book)
}

// end closes all connections, and returns which there have been. It waits for the mob's first ones until ctx ends.
func (o *otherConns) end(ctx context.Context) map[string][]*session {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeAll(ctx)
	return o.book.copy()
}

// closeAll closes all connections. It is called with the lock held.
func (o *otherConns) closeAll(ctx context.Context) {
	if o.idle != nil {
		o.idle.close()
		o.idle = nil
	}
	if o.mob != nil {
		o.mob.stop(ctx)
		o.mob = nil
	}
}
