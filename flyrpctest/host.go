package flyrpctest

import (
	"context"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// hostName is the name of every Host's server. Each Host has a network to itself.
const hostName = "server"

// Host is the place of a server, inside the process: clients connect to it, and the
// test stops it and starts it again at the same address. All methods may be called
// concurrently; those that can fail the test only by the goroutine that runs it.
type Host struct {
	t      testing.TB
	mem    *transport.Mem
	labels context.Context // that mark its goroutines
	mark   string
	calls  openCalls

	starting sync.Mutex
	srv      *flyrpc.Server
	servers  []*flyrpc.Server // all that it had
	listener net.Listener
	served   chan struct{}

	mu       sync.Mutex
	clients  []*Client
	accepted conns
}

// Client is a client of a Host, connected over a Link. flyrpc.Call and its like take it as it
// is; its Client is for code that wants a *flyrpc.Client.
type Client struct {
	*flyrpc.Client
	// Host is where its server is.
	Host *Host
	// Link is the way there.
	Link *Link
}

// NewServer returns a server that logs to the test, unless opts have a Logger, and that is closed
// when the test ends. opts may be nil.
func NewServer(t testing.TB, opts *flyrpc.ServerOpts) *flyrpc.Server {
	t.Helper()
	var o flyrpc.ServerOpts
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = NewLogger(t)
	}
	srv := flyrpc.NewServer(&o)
	t.Cleanup(func() { srv.Close() })
	return srv
}

// NewClient is Serve(t, srv).NewClient(opts): a client connected to srv, in memory. It is closed
// when the test ends, which may be a subtest of the one that has made srv. Client.Host makes more
// clients.
func NewClient(t testing.TB, srv *flyrpc.Server, opts *flyrpc.ClientOpts) *Client {
	t.Helper()
	return Serve(t, srv).NewClient(opts)
}

// Serve has srv serve the connections to a Host, in memory, until the test ends. The Host then
// closes them, and looks for what is left over: see the package's documentation. srv gets a
// middleware for that, inside those that it has by then. srv itself is closed by whoever
// has made it, as NewServer does.
func Serve(t testing.TB, srv *flyrpc.Server) *Host {
	t.Helper()
	h := &Host{t: t, mem: transport.NewMem()}
	h.labels, h.mark = newMark(t, h)
	t.Cleanup(h.finish)
	h.Start(srv)
	return h
}

// Addr returns the address that clients dial, over a Link of this Host. It stays the same.
func (h *Host) Addr() string { return transport.MemAddr(hostName).String() }

// Server returns the server that was started last.
func (h *Host) Server() *flyrpc.Server {
	h.starting.Lock()
	defer h.starting.Unlock()
	return h.srv
}

// NewLink returns a way to the Host, for a client that the code under test makes: it is a
// Transport for ClientOpts.Transports.
func (h *Host) NewLink() *Link { return newLink(h.mem, nil) }

// NewClient returns a client that is connected to the Host over a Link of its own, and is closed
// when the test ends. It logs to the test, unless opts have a Logger. opts may be nil; they
// can't have a DialFunc, which would pass the Link by. Failing to connect within
// Patience ends the test: to test that, use NewLink and flyrpc.Dial.
func (h *Host) NewClient(opts *flyrpc.ClientOpts) *Client {
	h.t.Helper()
	var o flyrpc.ClientOpts
	if opts != nil {
		o = *opts
	}
	if o.DialFunc != nil {
		h.t.Fatal("flyrpctest: NewClient: ClientOpts.DialFunc would pass the Link by: leave it nil, or use NewLink and flyrpc.Dial")
	}
	if o.Logger == nil {
		o.Logger = NewLogger(h.t)
	}
	link := h.NewLink()
	o.Transports = append(slices.Clone(o.Transports), link)
	c := &Client{Client: flyrpc.NewClient(h.Addr(), &o), Host: h, Link: link}
	c.Use(h.watch("a client", func(*flyrpc.Conn) bool { return true }))
	h.mu.Lock()
	h.clients = append(h.clients, c)
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		h.t.Fatalf("flyrpctest: NewClient: connect to %s: %v", h.Addr(), err)
	}
	if c.Conn().PeerInfo().Version > 1 {
		_, _ = c.Ping(0, Patience) // the server has the connection by now, unless it has an OnConnect
	}
	return c
}

// ServerConn returns the server's end of the client's connection, to call the client from there. It waits
// while OnConnect runs, and ends the test if there is no such connection within Patience.
func (c *Client) ServerConn() *flyrpc.Conn {
	c.Host.t.Helper()
	ours := c.Conn().LocalAddr().String()
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, sc := range c.Host.Server().Conns() {
			if addr, ok := sc.LocalAddr().(hostAddr); ok && addr.host == c.Host && sc.RemoteAddr().String() == ours {
				return sc
			}
		}
	}
	c.Host.t.Fatalf("flyrpctest: ServerConn: the server has no connection to %s: is the client still connected?", ours)
	panic("unreachable") // Fatalf ends the goroutine
}

// Start has srv serve at the Host's address: a new one, as after a restart of its
// program, or nil for the one that was there before. The one before must have been stopped, by
// Stop or by its own Shutdown or Close; a server that has been closed can't serve
// again.
func (h *Host) Start(srv *flyrpc.Server) {
	h.t.Helper()
	h.starting.Lock()
	defer h.starting.Unlock()
	if h.listener != nil {
		if h.listener.Close() == nil {
			h.t.Fatal("flyrpctest: Start: the Host is serving already: call Stop first")
		}
		<-h.served
	}
	if srv == nil {
		srv = h.srv
	}
	l, err := h.mem.Listen(context.Background(), &url.URL{Scheme: "mem", Host: hostName})
	if err != nil {
		h.t.Fatalf("flyrpctest: Start: %v", err)
	}
	if !slices.Contains(h.servers, srv) {
		h.servers = append(h.servers, srv)
		srv.Use(h.watch("the server", h.accepts))
	}
	h.srv, h.listener, h.served = srv, &hostListener{l, h}, make(chan struct{})
	go func(done chan struct{}, l net.Listener) {
		defer close(done)
		_ = srv.Serve(l) // which always fails, in the end
	}(h.served, h.listener)
}

// Stop ends the Host as a crash of its program would: all connections are reset, the
// address refuses others, and the contexts of handlers end. It doesn't wait for handlers. The
// server isn't closed: Start(nil) has it serve again. A Host that is stopped already stays so. To stop in order
// use the server's Shutdown.
func (h *Host) Stop() {
	h.starting.Lock()
	defer h.starting.Unlock()
	if h.listener == nil {
		return
	}
	_ = h.listener.Close()
	<-h.served // nothing more is accepted
	for _, c := range h.accepted.list() {
		c.Reset()
	}
}

// finish ends everything and looks for what is left over.
func (h *Host) finish() {
	h.t.Helper()
	told := h.t.Failed() || h.t.Skipped()
	if open := h.calls.wait(); len(open) > 0 && !told {
		h.t.Errorf("flyrpctest: calls were still open when the test had ended:\n%s"+
			"Wait for their end, or close their client before.", describe(open))
	}
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	h.Stop()
	if left := awaitGoroutines(h.mark); left != "" && !told {
		h.t.Errorf("flyrpctest: goroutines of handlers were left when all connections had been closed:\n%s"+
			"A handler, and what it starts, has to end when its Context does.", left)
	}
}

// hostListener is a listener whose connections their Host knows.
type hostListener struct {
	net.Listener
	host *Host
}

// Accept waits for a connection.
func (l *hostListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := nc.(*transport.MemConn)
	l.host.accepted.add(c)
	return &conn{MemConn: c, local: hostAddr{c.LocalAddr(), l.host}, remote: c.RemoteAddr(), closed: func() { l.host.accepted.remove(c) }}, nil
}

// hostAddr is the address of a Host, which tells whose connection it is.
type hostAddr struct {
	net.Addr
	host *Host
}
