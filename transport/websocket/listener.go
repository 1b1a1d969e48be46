package websocket

import (
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

const (
	// maxWaiting is how many connections wait for Accept.
	maxWaiting = 128
	// maxRequest is the most bytes of a request's header.
	maxRequest = 64 << 10
)

// listener accepts the connections that an HTTP server has upgraded.
type listener struct {
	below  net.Listener
	server *http.Server
	conns  chan *Conn
	done   chan struct{}
	once   sync.Once
	err    error
}

// serve has an HTTP server upgrade what l accepts.
func (t Transport) serve(below net.Listener, path string) *listener {
	l := &listener{below: below, conns: make(chan *Conn, maxWaiting), done: make(chan struct{})}
	timeout := t.HandshakeTimeout
	if timeout <= 0 {
		timeout = DefaultHandshakeTimeout
	}
	l.server = &http.Server{
		Handler:           l.handler(path, &AcceptOptions{Origins: t.Origins, Header: t.Header, ReadLimit: t.ReadLimit, HandshakeTimeout: timeout}),
		ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: timeout,
		MaxHeaderBytes: maxRequest,
		ErrorLog:       log.New(io.Discard, "", 0), // what it says of clients that break off is of no use
	}
	go func() { l.end(l.server.Serve(below)) }()
	return l
}

// handler upgrades the requests of a path.
func (l *listener) handler(path string, o *AcceptOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != path:
			http.Error(w, "a WebSocket is served at another path than this", http.StatusNotFound)
		case !IsUpgrade(r):
			w.Header().Set("Upgrade", "websocket")
			http.Error(w, "only a WebSocket is served here", http.StatusUpgradeRequired)
		case len(l.conns) == cap(l.conns):
			http.Error(w, "too many connections wait to be accepted", http.StatusServiceUnavailable)
		default:
			if c, err := Accept(w, r, o); err == nil {
				l.offer(c)
			}
		}
	})
}

// offer has Accept return c.
func (l *listener) offer(c *Conn) {
	select {
	case l.conns <- c:
		if l.isClosed() {
			l.dismiss()
		}
	default:
		c.SetClose(CloseTryLater, "too many connections wait to be accepted")
		c.Close()
	}
}

// Accept waits for a connection whose upgrade is done.
func (l *listener) Accept() (net.Conn, error) {
	if !l.isClosed() {
		select {
		case c := <-l.conns:
			return c, nil
		case <-l.done:
		}
	}
	<-l.done
	return nil, &net.OpError{Op: "accept", Net: "websocket", Addr: l.Addr(), Err: l.err}
}

func (l *listener) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Close stops listening. Connections that were accepted go on, those that wait for that are closed.
func (l *listener) Close() error {
	l.end(net.ErrClosed)
	return nil
}

// end has Accept fail with err.
func (l *listener) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
		l.server.Close()
		l.below.Close()
		l.dismiss()
	})
}

// dismiss closes the connections that wait.
func (l *listener) dismiss() {
	for {
		select {
		case c := <-l.conns:
			c.SetClose(CloseGoingAway, "the server doesn't listen any more")
			c.Close()
		default:
			return
		}
	}
}

// Addr returns the address that is listened at.
func (l *listener) Addr() net.Addr { return l.below.Addr() }
