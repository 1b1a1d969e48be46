package flyrpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/transport"
)

// ErrServerClosed is what Listen and Serve return after Shutdown or Close.
var ErrServerClosed = errors.New("flyrpc: server closed")

// silentFor is how long a connection may be silent before OnConnect runs for it: a
// version 1 client may wait to be pushed to.
const silentFor = 250 * time.Millisecond

// Server serves the handlers of its Router to the connections it accepts, and calls
// the other ends' handlers. All methods may be called concurrently.
type Server struct {
	*Router
	opts       ServerOpts
	ep         *endpoint
	transports *transport.Table

	mu           sync.Mutex
	listeners    map[net.Listener]struct{}
	entrants     map[*entrant]struct{}
	conns        map[*Conn]struct{} // accepted
	open         map[*Conn]struct{} // with a handshake behind them
	onConnect    func(*Context) error
	onDisconnect func(*Context, error)
	stopping     bool
	admission    admission
	met          atomic.Bool   // a client has connected
	ended        chan struct{} // capacity 1: a connection has ended
	refusals     refusals
	web          *web
}

// NewServer returns a Server that doesn't listen yet. A nil opts means the defaults.
// It panics if opts.Info can't be encoded as JSON or has more than 15 KiB so, two of opts.Transports have the same scheme,
// opts.TLS has no certificate, or one of opts.Origins is none.
func NewServer(opts *ServerOpts) *Server { return NewRouter().NewServer(opts) }

// NewServer returns a Server as the function NewServer does, whose Router is r: it serves all routes of r's root. Several servers may
// share a Router, as those do that offer the same handlers in several ways.
func (r *Router) NewServer(opts *ServerOpts) *Server {
	var o ServerOpts
	if opts != nil {
		o = *opts
	}
	table, err := transport.NewTable(withOwn(o.Transports, serverTLS{transport.TLS{Config: o.TLS}}, o.webSocket())...)
	if err != nil {
		panic(fmt.Sprintf("flyrpc: NewServer: ServerOpts.Transports: %v", err))
	}
	if err := checkServerTLS(o.TLS); err != nil {
		panic(fmt.Sprintf("flyrpc: NewServer: %v", err))
	}
	info, err := marshalInfo("ServerOpts.Info", o.Info)
	if err != nil {
		panic(err.Error())
	}
	if len(info) > maxInfo {
		panic(fmt.Sprintf("flyrpc: NewServer: ServerOpts.Info has %d bytes as JSON, at most %d are possible", len(info), maxInfo))
	}
	s := &Server{
		Router: r, opts: o, transports: table,
		listeners: map[net.Listener]struct{}{},
		entrants:  map[*entrant]struct{}{},
		conns:     map[*Conn]struct{}{},
		open:      map[*Conn]struct{}{},
		ended:     make(chan struct{}, 1),
	}
	s.ep = &endpoint{
		router: s.Router, limits: o.limits(), errors: newErrorTable(o.Errors), log: loggerOr(o.Logger),
		sers: serverSerializers(o.Serializers), v1ser: v1Serializer(o.V1Serializer), info: info, onLost: o.OnLostConn,
		zipOpts: o.Zip, zipper: compress.New(compress.Level(o.Zip.Level)),
	}
	if s.web, err = newWeb(s); err != nil {
		panic(fmt.Sprintf("flyrpc: NewServer: %v", err))
	}
	return s
}

// loggerOr returns log, or the default logger if it is nil.
func loggerOr(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.Default()
	}
	return log
}

// OnConnect sets what runs for each new connection, before any of its requests is handled:
// after hello, at the first packet of a version 1 client, or after 250 ms of silence unless
// ServerOpts.Auth is set. An error refuses the connection: it is what the client's calls
// fail with. The Context ends with the connection's handshake; Context.Conn may be kept. Set it before serving.
func (s *Server) OnConnect(f func(*Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onConnect = f
}

// OnDisconnect sets what runs once for each connection for which OnConnect has run without an
// error, after it has ended. The error is nil if either side closed it in order. Set it before serving.
func (s *Server) OnDisconnect(f func(*Context, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDisconnect = f
}

// Listen listens on addr and serves what it accepts until the server is closed. The
// address is a URL, such as tcp://localhost:7000, tls://:7000 (which needs ServerOpts.TLS), udp://:7000 or
// unix:///run/fly.sock, or a bare host:port, which means TCP. It always returns an error: ErrServerClosed after Shutdown or Close.
func (s *Server) Listen(addr string) error {
	if err := s.opts.checkPlain(addr); err != nil {
		return err
	}
	l, err := s.transports.Listen(context.Background(), addr)
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// Serve serves the connections that l accepts and closes l in the end. It always
// returns an error: ErrServerClosed after Shutdown or Close, else what Accept failed with.
func (s *Server) Serve(l net.Listener) error {
	if !s.track(l) {
		l.Close()
		return ErrServerClosed
	}
	defer s.untrack(l)
	first := s.awaitFirst(l)
	defer first.stop()
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.accept(nc, nil)
			continue
		}
		if s.isStopping() {
			return ErrServerClosed
		}
		if first.late.Load() {
			return fmt.Errorf("%w: %v, on %s", ErrNoClient, s.opts.FirstConnTimeout, addrString(l.Addr()))
		}
		if !passing(err) {
			return fmt.Errorf("flyrpc: accept on %s: %w", addrString(l.Addr()), err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.ep.log.Warn("flyrpc: accept failed, trying again", "addr", addrString(l.Addr()), "error", err, "pause", pause)
		time.Sleep(pause)
	}
}

// passing reports whether Accept may succeed when tried again.
func passing(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !errors.Is(err, net.ErrClosed)
}

// track adds a listener, unless the server is stopping.
func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	l.Close()
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// ServeConn serves one connection, which belongs to the server from then on, and
// returns when it has ended.
func (s *Server) ServeConn(nc net.Conn) {
	over := make(chan struct{})
	if s.accept(nc, over) {
		<-over
	}
}

// start has a connection served that has come in by p, and closes over, if that isn't nil, when it has ended. in, if
// it isn't nil, has read the first bytes. It reports false if the server is stopping.
func (s *Server) start(nc net.Conn, p pass, over chan struct{}, in *reader) bool {
	c := s.newConn(nc, p, over)
	if c.datagram == nil { // else there are packets and nothing else
		c.proto.in.adopt(in, c.opening)
	}
	if !s.enrol(c) {
		return false
	}
	if s.opts.Auth != nil || p.refusal != nil || c.datagram != nil {
		c.hurried = true
		if err := nc.SetReadDeadline(time.Now().Add(s.ep.limits.helloTimeout)); err != nil {
			c.handed = &handed{err: err}
		}
	} else if c.in.gated {
		c.silent = time.AfterFunc(silentFor, func() { s.connected(c) })
	}
	if p.refusal == nil {
		c.watchFrom(0)
	}
	c.startReading()
	return true
}

// newConn returns a connection that has come in by p and hasn't said anything yet.
func (s *Server) newConn(nc net.Conn, p pass, over chan struct{}) *Conn {
	c := newConn(s.ep, nc)
	c.srv, c.fresh, c.over, c.pass = s, true, over, p
	c.proto.accept(maxHello)
	return c
}

// enrol takes a new connection into the books. It reports false, and closes it, if the server is stopping.
func (s *Server) enrol(c *Conn) bool {
	s.mu.Lock()
	c.in.gated = s.onConnect != nil
	refuse := s.stopping
	if refuse {
		s.leave(&c.pass)
	} else {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if refuse {
		c.close(ErrServerClosed)
	}
	return !refuse
}

// ending takes a connection that has ended off the books and has OnDisconnect run for it,
// when OnConnect has returned.
func (s *Server) ending(c *Conn) {
	defer s.forget(c)
	c.opened.Do(func() {}) // OnConnect doesn't start any more
	if c.greeted != nil {
		<-c.greeted
	}
	s.mu.Lock()
	_, was := s.open[c]
	delete(s.open, c)
	f := s.onDisconnect
	s.mu.Unlock()
	if was && f != nil {
		reason := c.Err()
		if c.inOrder() {
			reason = nil
		}
		in := c.bareIncoming()
		in.cancel(context.Canceled)
		in.route = &route{path: "OnDisconnect", handler: func(ctx *Context) (any, error) { f(ctx, reason); return nil, nil }}
		_, _ = in.invoke()
	}
}

// forget takes a connection that has ended, and its OnDisconnect with it, off the books.
func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if !c.handedOver.Load() {
		s.leave(&c.pass)
	}
	s.mu.Unlock()
	if c.over != nil {
		close(c.over)
	}
	s.tellEnded()
}

// tellEnded wakes one of those who wait in awaitEnds.
func (s *Server) tellEnded() {
	select {
	case s.ended <- struct{}{}:
	default:
	}
}

// Conns returns the connections that are open, ordered by ID. What calls by HTTP isn't among them: it can't be
// called.
func (s *Server) Conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.open))
	for c := range s.open {
		if !c.byHTTP() {
			conns = append(conns, c)
		}
	}
	slices.SortFunc(conns, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
	return conns
}

// stop makes the server accept nothing more and reports whether it was the first to.
func (s *Server) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.stopping = true
	for l := range s.listeners {
		l.Close()
	}
	return true
}

// Close closes the listeners and all connections at once. Calls in both directions end with
// UNAVAILABLE. It doesn't wait for handlers. It returns nil.
func (s *Server) Close() error {
	s.stop()
	s.closeEntrants()
	var wg sync.WaitGroup
	for _, c := range s.all() { // to tell one that doesn't read may take a second
		wg.Go(func() { c.close(ErrServerClosed) })
	}
	wg.Wait()
	s.web.close()
	s.ep.workers.Close()
	return nil
}
