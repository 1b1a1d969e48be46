package peers

import (
	"net"
	"sync"
)

// acceptor serves each connection of a listener, for peers that have no server of their own.
type acceptor struct {
	listener net.Listener
	serve    func(net.Conn)
	done     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// serveConns listens and has each connection served in a goroutine.
func serveConns(serve func(net.Conn)) (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	a := &acceptor{listener: l, serve: serve, conns: make(map[net.Conn]struct{})}
	a.done.Go(a.accept)
	return &Server{Addr: l.Addr().String(), Close: a.close}, nil
}

func (a *acceptor) accept() {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.done.Go(func() {
			defer a.forget(c)
			if a.keep(c) {
				a.serve(c)
			}
		})
	}
}

// keep remembers a connection for close. It reports false if that was already.
func (a *acceptor) keep(c net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[c] = struct{}{}
	return !a.closed
}

func (a *acceptor) forget(c net.Conn) {
	c.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, c)
}

// close closes the listener and all connections, and waits for their goroutines.
func (a *acceptor) close() {
	a.listener.Close()
	a.mu.Lock()
	a.closed = true
	for c := range a.conns {
		c.Close()
	}
	a.mu.Unlock()
	a.done.Wait()
}
