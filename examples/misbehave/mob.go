package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// session is one connection, in the book of the clients' process.
type session struct {
	name string // good, idle or the way in which it misbehaves
	left bool   // it was still open when the time was up
}

// book has all connections by the addresses of their clients. An address may be used again: the server has their ends in the same order.
type book struct {
	mu       sync.Mutex
	sessions map[string][]*session
}

func newBook() *book { return &book{sessions: map[string][]*session{}} }

// open enters a connection that was made.
func (b *book) open(conn net.Conn, name string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &session{name: name}
	addr := conn.LocalAddr().String()
	b.sessions[addr] = append(b.sessions[addr], s)
	return s
}

// mob is the connections that misbehave.
type mob struct {
	addr   string
	book   *book
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// startMob has n connections misbehave, as many in each way.
func startMob(ctx context.Context, addr string, n int, ways []way, b *book) *mob {
	m := &mob{addr: addr, book: b}
	ctx, m.cancel = context.WithCancel(ctx)
	for i := range n {
		m.all.Go(func() { m.keepOn(ctx, ways[i%len(ways)]) })
	}
	return m
}

// stop closes all of them.
func (m *mob) stop() {
	m.cancel()
	m.all.Wait()
}

// keepOn has one connection misbehave after another.
func (m *mob) keepOn(ctx context.Context, w way) {
	pause := time.NewTimer(rand.N(time.Second)) // not all at once
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		m.once(ctx, w)
		pause.Reset(time.Second/2 + rand.N(time.Second))
	}
}

// once makes a connection and has it misbehave until it is cut, or the time is up.
func (m *mob) once(ctx context.Context, w way) {
	d := net.Dialer{Timeout: callTimeout}
	conn, err := d.DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return
	}
	s := m.book.open(conn, w.name)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_ = w.misbehave(ctx, &peer{TCPConn: conn.(*net.TCPConn)}) // an error is what it is there for
	m.book.mu.Lock()
	s.left = !stop() || ctx.Err() != nil
	m.book.mu.Unlock()
	conn.Close()
}
