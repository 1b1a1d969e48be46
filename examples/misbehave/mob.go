package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	away      = 2 * time.Second  // the most that passes until a connection comes, or comes again
	firstTime = 30 * time.Second // how long the end waits for first connections that haven't had what they are there for
)

// mob is the connections that misbehave.
type mob struct {
	addr   string
	book   *book
	cancel context.CancelFunc
	all    sync.WaitGroup
	served chan struct{} // closed when each client has been served once
}

// startMob has n connections misbehave, as many in each way.
func startMob(ctx context.Context, addr string, n int, ways []way, b *book) *mob {
	m := &mob{addr: addr, book: b, served: make(chan struct{})}
	ctx, m.cancel = context.WithCancel(ctx)
	var first sync.WaitGroup
	first.Add(n)
	for i := range n {
		m.all.Go(func() { m.keepOn(ctx, ways[i%len(ways)], sync.OnceFunc(first.Done)) })
	}
	go func() {
		first.Wait()
		close(m.served)
	}()
	return m
}

// stop closes all of them. It waits for a while, and until ctx ends, so that each client has been served once.
func (m *mob) stop(ctx context.Context) {
	wait := time.NewTimer(firstTime)
	defer wait.Stop()
	select {
	case <-m.served:
	case <-wait.C:
	case <-ctx.Done():
	}
	m.cancel()
	m.all.Wait()
}

// keepOn has one connection misbehave after another. The first comes at a random time, and the others come again after
// one, so that they don't come together. served is called when the server has done something about one.
func (m *mob) keepOn(ctx context.Context, w way, served func()) {
	defer served()
	pause := time.NewTimer(rand.N(away))
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if m.once(ctx, w, served) {
			served()
		}
		pause.Reset(rand.N(away))
	}
}

// once makes a connection and has it misbehave until it is cut, or the time is up. It returns false if there was none.
func (m *mob) once(ctx context.Context, w way, served func()) bool {
	d := net.Dialer{Timeout: callTimeout}
	conn, err := d.DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return false
	}
	s := m.book.open(conn, w.name)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_ = w.misbehave(ctx, &peer{TCPConn: conn.(*net.TCPConn), served: served}) // an error is what it is there for
	m.book.close(s, !stop() || ctx.Err() != nil)
	conn.Close()
	return true
}
