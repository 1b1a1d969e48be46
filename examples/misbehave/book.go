package main

import (
	"maps"
	"net"
	"slices"
	"sync"
)

// session is one connection, in the book of a process of clients.
type session struct {
	Name string // good, idle or the way in which it misbehaves
	Left bool   // it was still open when the time was up
}

// book has all connections of a process by the addresses of their clients. An address may be used again: the server has their ends in the same order.
type book struct {
	mu       sync.Mutex
	sessions map[string][]*session
}

func newBook() *book { return &book{sessions: map[string][]*session{}} }

// open enters a connection that was made.
func (b *book) open(conn net.Conn, name string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &session{Name: name}
	addr := conn.LocalAddr().String()
	b.sessions[addr] = append(b.sessions[addr], s)
	return s
}

// close enters that a connection has ended, or was left when the time was up.
func (b *book) close(s *session, left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Left = left
}

// add enters the connections of another process, which came after those of this one.
func (b *book) add(sessions map[string][]*session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for addr, more := range sessions {
		b.sessions[addr] = append(b.sessions[addr], more...)
	}
}

// copy returns all connections. None of them is open any more.
func (b *book) copy() map[string][]*session {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(b.sessions)
	for addr, sessions := range all {
		all[addr] = slices.Clone(sessions)
	}
	return all
}
