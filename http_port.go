package flyrpc

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// httpIdle is how long a connection of HTTP is kept without a request, unless ServerOpts.IdleTimeout is shorter.
	httpIdle = 3 * time.Minute
	// maxHTTPHeader is the most bytes that a request's header has, its first line included.
	maxHTTPHeader = 64 << 10
)

// web is what a Server has for HTTP.
type web struct {
	srv     *Server
	httpd   http.Server
	once    sync.Once
	incomes chan net.Conn // that it is to take
	stopped chan struct{} // closed when it takes none any more
	stop    sync.Once
	origins origins
	callers *endpoint         // of the calling ends
	modes   [2]*mode          // of the serving end of a call, and of its calling end
	conns   map[*webConn]bool // the server's lock guards it
}

// newWeb returns what s needs for HTTP. It takes nothing until the first connection.
func newWeb(s *Server) (*web, error) {
	h := &web{
		srv: s, incomes: make(chan net.Conn), stopped: make(chan struct{}), conns: map[*webConn]bool{},
		callers: callerEndpoint(s.ep),
	}
	h.modes = h.newModes()
	var err error
	if h.origins, err = newOrigins(s.opts.Origins); err != nil {
		return nil, err
	}
	l := s.ep.limits
	idle := httpIdle
	if l.idleTimeout > 0 {
		idle = min(idle, l.idleTimeout)
	}
	h.httpd = http.Server{
		Handler:           http.HandlerFunc(h.serve),
		ReadHeaderTimeout: l.helloTimeout,
		IdleTimeout:       idle,
		MaxHeaderBytes:    maxHTTPHeader - 4<<10, // net/http reads 4 KiB more
		ErrorLog:          slog.NewLogLogger(s.ep.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, webConnKey{}, nc)
		},
	}
	return h, nil
}

// webConnKey is the key of the *webConn in the context of its requests.
type webConnKey struct{}

// webConnOf returns the connection of the server's own port that a request came by, or nil.
func webConnOf(r *http.Request) *webConn {
	c, _ := r.Context().Value(webConnKey{}).(*webConn)
	return c
}

// serve serves a request that came by the server's own port.
func (h *web) serve(w http.ResponseWriter, r *http.Request) {
	if c := webConnOf(r); c != nil && r.TLS == nil {
		r.TLS = c.tls
	}
	h.srv.ServeHTTP(w, r)
}

// take has a connection served.
func (h *web) take(c *webConn) bool {
	h.once.Do(func() { go func() { _ = h.httpd.Serve((*webListener)(h)) }() })
	select {
	case h.incomes <- c:
		return true
	case <-h.stopped:
		return false
	}
}

// shutdown ends the connections when their requests are answered, and with ctx at the latest.
func (h *web) shutdown(ctx context.Context) {
	if h.httpd.Shutdown(ctx) == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lingerFor) // what was cut short is being answered
	defer cancel()
	_ = h.httpd.Shutdown(ctx)
	_ = h.httpd.Close()
}

// close ends everything at once.
func (h *web) close() {
	_ = h.httpd.Close()
	(*webListener)(h).Close()
	h.srv.mu.Lock()
	conns := slices.Collect(maps.Keys(h.conns)) // http.Server may miss one that it has just accepted
	h.srv.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	h.callers.workers.Close()
}

// webListener is what the server's http.Server accepts connections from.
type webListener web

// Accept waits for a connection that begins with HTTP.
func (l *webListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incomes:
		return c, nil
	case <-l.stopped:
		return nil, net.ErrClosed
	}
}

// Close has Accept fail.
func (l *webListener) Close() error {
	l.stop.Do(func() { close(l.stopped) })
	return nil
}

// Addr returns no particular address: the connections come from many listeners.
func (l *webListener) Addr() net.Addr { return webAddr{} }

type webAddr struct{}

func (webAddr) Network() string { return "tcp" }
func (webAddr) String() string  { return "flyrpc" }

// webConn is a connection of the server's own port that speaks HTTP.
type webConn struct {
	net.Conn
	srv  *Server
	tls  *tls.ConnectionState
	pass pass
	over chan struct{}
	once sync.Once
}

// NetConn returns the connection that it is made of.
func (c *webConn) NetConn() net.Conn { return c.Conn }

// Close closes the connection and takes it off the books.
func (c *webConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.srv.mu.Lock()
		delete(c.srv.web.conns, c)
		c.srv.leave(&c.pass)
		c.srv.mu.Unlock()
		if c.over != nil {
			close(c.over)
		}
		c.srv.tellEnded()
	})
	return err
}

// leave takes the connection off HTTP's books, as it is another protocol's from now on, which has its pass then, and closes over when it has
// ended.
func (c *webConn) leave() (p pass, over chan struct{}) {
	c.once.Do(func() {
		c.srv.mu.Lock()
		delete(c.srv.web.conns, c)
		c.srv.mu.Unlock()
		p, over = c.pass, c.over
	})
	return p, over
}

// serveHTTP serves a connection that begins with an HTTP method.
func (e *entrant) serveHTTP(nc net.Conn) error {
	s := e.srv
	if !e.leaveDoor() {
		return ErrServerClosed
	}
	c := &webConn{Conn: nc, srv: s, tls: tlsState(nc), pass: e.pass, over: e.over}
	s.mu.Lock()
	s.web.conns[c] = true
	s.mu.Unlock()
	if s.web.take(c) {
		return nil
	}
	s.mu.Lock()
	delete(s.web.conns, c)
	s.leave(&c.pass)
	s.mu.Unlock()
	return ErrServerClosed
}
