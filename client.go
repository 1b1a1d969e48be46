package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/transport"
)

// Client is the dialling end of a connection, or of several. It calls the server's handlers, and its
// Router has the handlers that the server calls, by whichever connection. All methods may be called concurrently.
// What becomes of it when a connection is lost ClientOpts.Reconnect says.
type Client struct {
	*Router
	opts ClientOpts
	rec  Reconnect // of opts, with its defaults
	ep   *endpoint
	addr string

	transports *transport.Table
	optsErr    error
	given      net.Conn // for the first connection, of NewClientConn

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	lone   *link        // nil if there may be several
	set    *balance.Set // of the links' targets; nil if there is one link
	line   line
	told   atomic.Uint64 // counts what Conn has returned
	modern atomic.Bool   // a server has spoken version 2

	connecting chan struct{} // capacity 1: held by who connects the one link, unless it is kept up
	mu         sync.Mutex
	links      []*link
	left       []*Conn // of links that aren't wanted any more; they end in order
	resolving  bool
	resolveErr error // why the Resolver returned last
	states     states
	news       chan struct{}      // closed when something has become of a link; nil if nobody waits for that
	abort      context.CancelFunc // ends the connecting; nil if nobody connects
	closed     bool
}

// NewClient returns a Client for addr: a URL, such as tcp://localhost:7000, tls://example.com:7000,
// unix:///run/fly.sock or https://example.com/api, or a bare host:port, which means TCP. It isn't connected yet: Connect does that, or the first call. What
// is wrong with the arguments is said then. A nil opts means the defaults.
func NewClient(addr string, opts *ClientOpts) *Client {
	var o ClientOpts
	if opts != nil {
		o = *opts
	}
	c := &Client{Router: NewRouter(), opts: o, rec: o.Reconnect.withDefaults(), addr: addr, connecting: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var tableErr, infoErr error
	c.transports, tableErr = transport.NewTable(withOwn(o.Transports, o.transports()...)...)
	var info json.RawMessage
	info, infoErr = marshalInfo("ClientOpts.Info", o.Info)
	c.ep = &endpoint{
		router: c.Router, limits: o.limits(), errors: newErrorTable(o.Errors), log: loggerOr(o.Logger),
		sers: clientSerializers(o.Serializer), v1ser: v1Serializer(o.V1Serializer, o.Serializer),
		info: info, onLost: o.OnLostConn, invoke: intercept(o.Intercept), zipOpts: o.Zip, zipper: compress.New(compress.Level(o.Zip.Level)),
	}
	c.states.f, c.states.ep = o.Reconnect.OnStateChange, c.ep
	c.optsErr = errors.Join(tableErr, infoErr, c.findLinks())
	return c
}

// Dial returns a Client that is connected to addr. ctx bounds the dialling alone.
func Dial(ctx context.Context, addr string, opts *ClientOpts) (*Client, error) {
	c := NewClient(addr, opts)
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// NewClientConn returns a Client that uses conn, which belongs to it from then on. It says
// hello when Connect is called, or with the first call. Since it can't dial again,
// a version 1 server that ignores hello needs ClientOpts.NoHello.
func NewClientConn(conn net.Conn, opts *ClientOpts) *Client {
	c := NewClient("", opts)
	c.given = conn
	return c
}

// Conn returns the connection, or nil if there was none yet. It may be lost already. Of several it returns one that isn't, if there is one:
// it may be another one each time.
func (c *Client) Conn() *Conn {
	if c.lone != nil {
		return c.lone.conn.Load()
	}
	all := c.set.Targets() // and no Pick, which may have to be followed by a call
	start := c.told.Add(1)
	var lost *Conn
	for i := range all {
		conn := all[(start+uint64(i))%uint64(len(all))].Value.(*link).conn.Load()
		switch {
		case conn == nil:
		case conn.fit():
			return conn
		default:
			lost = conn
		}
	}
	return lost
}

// Call calls a handler of the server, connecting first if the client isn't connected; see
// Conn.Call, and Reconnect for what happens when the connection is lost meanwhile.
func (c *Client) Call(ctx context.Context, path string, message, reply any) error {
	conn, t := c.ready(ctx)
	var err error
	switch {
	case conn == nil:
	case t == nil:
		err = conn.Call(ctx, path, message, reply)
	case c.opts.Balance.Hedge > 0 && c.hedges(ctx, &Outgoing{Message: message, Reply: reply}):
		return c.callHedged(ctx, conn, t, path, message, reply)
	default:
		err = c.callBy(ctx, conn, t, path, message, reply)
	}
	if conn != nil && err == nil {
		return nil
	}
	return c.persist(ctx, c.callErrand(ctx, path, message, reply), conn, t, err)
}

// callBy is Conn.Call that keeps account of its target.
func (c *Client) callBy(ctx context.Context, conn *Conn, t *balance.Target, path string, message, reply any) (err error) {
	begun := c.begun(ctx)
	t.Begin()
	err = errPanicked
	defer func() { c.account(t, conn, begun, err) }()
	return conn.Call(ctx, path, message, reply)
}

// callErrand returns a call as an errand.
func (c *Client) callErrand(ctx context.Context, path string, message, reply any) *errand {
	call := Outgoing{Path: path, Message: message, Reply: reply}
	e := &errand{path: path, message: message, once: call.readers(), unknown: IsIdempotent(ctx)}
	e.do = func(ctx context.Context, conn *Conn, _ *balance.Target, queued func()) error {
		call := call
		call.Conn, call.queued = conn, queued
		return conn.intercepted(ctx, &call)
	}
	return e
}

// SendMessage sends a one-way message, connecting first if the client isn't connected; see
// Conn.SendMessage. While the client waits for a connection, so does the message, and its sender with it.
func (c *Client) SendMessage(ctx context.Context, path string, message any) error {
	conn, t := c.ready(ctx)
	var err error
	switch {
	case conn == nil:
	case t == nil:
		err = conn.SendMessage(ctx, path, message)
	default:
		err = c.sendBy(ctx, conn, t, path, message)
	}
	if conn != nil && err == nil {
		return nil
	}
	e := &errand{path: path, message: message}
	e.do = func(ctx context.Context, conn *Conn, _ *balance.Target, queued func()) error {
		return conn.intercepted(ctx, &Outgoing{Conn: conn, Path: path, Message: message, OneWay: true, queued: queued})
	}
	return c.persist(ctx, e, conn, t, err)
}

// sendBy is Conn.SendMessage that keeps account of its target.
func (c *Client) sendBy(ctx context.Context, conn *Conn, t *balance.Target, path string, message any) (err error) {
	begun := c.begun(ctx)
	t.Begin()
	err = errPanicked
	defer func() { c.account(t, conn, begun, err) }()
	return conn.SendMessage(ctx, path, message)
}

// OpenStream opens a Stream, connecting first if the client isn't connected; see Conn.OpenStream. Once it is open it ends with its
// connection.
func (c *Client) OpenStream(ctx context.Context, path string, message any) (*Stream, error) {
	return c.openStream(ctx, path, message, false)
}

// openStream is OpenStream, for a caller that sends no items if receives is true.
func (c *Client) openStream(ctx context.Context, path string, message any, receives bool) (s *Stream, err error) {
	e := &errand{path: path, message: message, opens: true}
	e.do = func(ctx context.Context, conn *Conn, t *balance.Target, queued func()) (err error) {
		begun := c.begun(ctx)
		s, err = conn.openStreamAs(ctx, &Outgoing{Conn: conn, Path: path, Message: message, Streams: true, receives: receives, queued: queued})
		if err == nil && t != nil {
			s.whenOver(func(err error) {
				if s.got && errors.Is(err, Timeout) {
					err = nil // the target has shown that it works
				}
				c.account(t, conn, begun, err)
			})
		}
		return err
	}
	conn, t := c.ready(ctx)
	if conn != nil {
		if err = c.do(ctx, e, conn, t, nil); err == nil {
			return s, nil
		}
	}
	if err = c.persist(ctx, e, conn, t, err); err != nil {
		return nil, err
	}
	return s, nil
}

// Ping measures the time to the server and back, connecting first if the client isn't connected;
// see Conn.Ping. timeout bounds both.
func (c *Client) Ping(length int, timeout time.Duration) (d time.Duration, err error) {
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn := c.Conn() // and no Pick: a ping says little of the target
	if conn == nil || !conn.fit() {
		return c.pingAgain(ctx, length, nil, nil)
	}
	if d, err = conn.ping(ctx, length, 0); err == nil {
		return d, nil
	}
	return c.pingAgain(ctx, length, conn, err)
}

// pingAgain is Ping without a connection, or after a failure.
func (c *Client) pingAgain(ctx context.Context, length int, conn *Conn, err error) (d time.Duration, _ error) {
	e := &errand{path: pingPath, unknown: true}
	e.do = func(ctx context.Context, conn *Conn, _ *balance.Target, _ func()) (err error) {
		d, err = conn.ping(ctx, length, 0)
		return err
	}
	if err := c.persist(ctx, e, conn, nil, err); err != nil {
		return 0, err
	}
	return d, nil
}

// Close closes the connections at once, if there are any; open calls in both directions end with
// UNAVAILABLE, and what waits and later ones fail. It returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	given, open := c.given, c.left
	c.closed, c.given, c.left = true, nil, nil
	c.cancel() // before the lock is given back: no link adopts a connection any more
	if c.abort != nil {
		c.abort()
	}
	for _, l := range c.links {
		open = append(open, l.old...)
		if conn := l.conn.Load(); conn != nil {
			open = append(open, conn)
		}
	}
	c.changed(nil)
	c.mu.Unlock()
	c.line.fail(errClientClosed())
	for _, conn := range open {
		conn.close(net.ErrClosed)
	}
	if given != nil {
		given.Close()
	}
	c.ep.workers.Close()
	return nil
}
