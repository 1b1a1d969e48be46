package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/transport"
)

// maxOld is how many connections that take no new calls a Client keeps while their calls end, beside the one it uses.
const maxOld = 8

// Client is the dialling end of a connection. It calls the server's handlers, and its
// Router has the handlers that the server calls. All methods may be called concurrently.
type Client struct {
	*Router
	opts ClientOpts
	ep   *endpoint
	addr string

	transports *transport.Table
	optsErr    error
	given      net.Conn // for the first connection, of NewClientConn

	connecting chan struct{} // capacity 1: held by who connects
	mu         sync.Mutex
	conn       *Conn
	old        []*Conn            // that take no new calls, and are still being closed in order
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
	c := &Client{Router: NewRouter(), opts: o, addr: addr, connecting: make(chan struct{}, 1)}
	var tableErr, infoErr error
	c.transports, tableErr = transport.NewTable(withOwn(o.Transports, o.transports()...)...)
	var info json.RawMessage
	info, infoErr = marshalInfo("ClientOpts.Info", o.Info)
	c.optsErr = errors.Join(tableErr, infoErr)
	c.ep = &endpoint{
		router: c.Router, limits: o.limits(), errors: newErrorTable(o.Errors), log: loggerOr(o.Logger),
		sers: clientSerializers(o.Serializer), v1ser: v1Serializer(o.V1Serializer, o.Serializer),
		info: info, onLost: o.OnLostConn, invoke: intercept(o.Intercept), zipOpts: o.Zip, zipper: compress.New(compress.Level(o.Zip.Level)),
	}
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

// Connect connects the client and agrees with the server on how to speak, unless it is connected. It may be called
// again when the connection was lost, or the server has said that it takes no new calls on it. The error is an Error, with the server's code if it refused.
func (c *Client) Connect(ctx context.Context) error {
	_, err := c.connect(ctx, true)
	return err
}

// Conn returns the connection, or nil if there was none yet. It may be lost already.
func (c *Client) Conn() *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// connect returns the connection, dialling if there is none, or if it is spent and
// again is set.
func (c *Client) connect(ctx context.Context, again bool) (*Conn, error) {
	if conn, err := c.usable(again); conn != nil || err != nil {
		return conn, err
	}
	select {
	case c.connecting <- struct{}{}:
		defer func() { <-c.connecting }()
	case <-ctx.Done():
		return nil, ctxErr(ctx, NotSent, "waiting for the connection")
	}
	if conn, err := c.usable(again); conn != nil || err != nil {
		return conn, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !c.abortWith(cancel) {
		return nil, errClientClosed()
	}
	conn, err := c.establish(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = nil
	switch {
	case c.closed && conn != nil:
		conn.close(net.ErrClosed)
		fallthrough
	case c.closed:
		return nil, errClientClosed()
	case err != nil:
		return nil, err
	}
	if old := c.conn; old != nil && old.Err() == nil {
		c.old = append(slices.DeleteFunc(c.old, func(o *Conn) bool { return o.Err() != nil }), old)
		if len(c.old) > maxOld {
			c.old[0].close(net.ErrClosed)
		}
	}
	c.conn = conn
	return conn, nil
}

// abortWith has Close call cancel, unless the client is closed already.
func (c *Client) abortWith(cancel context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = cancel
	return !c.closed
}

// usable returns the connection if it can be used. Both results are nil if there is none.
func (c *Client) usable(again bool) (*Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClientClosed()
	}
	if c.conn != nil && (again && c.conn.spent() || c.conn.retiring.Load()) {
		return nil, nil
	}
	return c.conn, nil
}

// spent reports whether the connection is lost, or the other end has said bye.
func (c *Conn) spent() bool { return c.Err() != nil || c.bye.Load() != nil }

func errClientClosed() error {
	return localErr(Unavailable, NotSent, net.ErrClosed, "the client is closed")
}

// establish dials and agrees with the server. A server that ignores hello is dialled
// once more and spoken to in version 1.
func (c *Client) establish(ctx context.Context) (*Conn, error) {
	if c.optsErr != nil {
		return nil, localErr(BadRequest, NotSent, c.optsErr, "%v", c.optsErr)
	}
	auth, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.attempt(ctx, !c.opts.NoHello, auth)
	if !errors.Is(err, errSilent) {
		return conn, err
	}
	if c.opts.RequireHello {
		return nil, localErr(Unavailable, NotSent, err, "%v within %v, and RequireHello is set", err, c.ep.limits.helloTimeout)
	}
	if c.addr == "" && c.opts.DialFunc == nil {
		return nil, localErr(Unavailable, NotSent, err, "%v within %v: set NoHello if it speaks version 1", err, c.ep.limits.helloTimeout)
	}
	return c.attempt(ctx, false, nil)
}

// credentials returns what the client shows to the server.
func (c *Client) credentials(ctx context.Context) (json.RawMessage, error) {
	auth := c.opts.Auth
	if f, ok := auth.(func(context.Context) (any, error)); ok {
		var err error
		if auth, err = f(ctx); err != nil {
			return nil, localErr(Unauthenticated, NotSent, err, "ClientOpts.Auth: %v", err)
		}
	}
	b, err := marshalInfo("ClientOpts.Auth", auth)
	if err != nil {
		return nil, localErr(BadRequest, NotSent, err, "%v", err)
	}
	if string(b) == "null" {
		return nil, nil
	}
	if len(b) > 0 && b[0] != '{' {
		return nil, localErr(BadRequest, NotSent, nil, "ClientOpts.Auth: %T is no object in JSON: use a struct or a map", auth)
	}
	return b, nil
}

// attempt dials once and, with hello, agrees with the server.
func (c *Client) attempt(ctx context.Context, hello bool, auth json.RawMessage) (*Conn, error) {
	if !hello && c.opts.RequireHello {
		return nil, localErr(BadRequest, NotSent, nil, "ClientOpts.NoHello and RequireHello exclude each other")
	}
	nc, err := c.dial(ctx)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctxErr(ctx, NotSent, fmt.Sprintf("dialling %s: %v", c.addr, err))
		}
		return nil, localErr(upgradeCode(err), NotSent, err, "%v", err)
	}
	conn := newConn(c.ep, nc)
	first, err := c.shake(ctx, conn, hello, auth)
	if err == errSilent && conn.datagram != nil {
		err = localErr(Unavailable, NotSent, err, "%v within %v", err, c.ep.limits.helloTimeout)
	}
	if err != nil {
		conn.close(net.ErrClosed)
		conn.proto.in.release()
		return nil, err
	}
	conn.proto.accept(conn.maxPayload())
	conn.proto.in.parks = conn
	if first != nil {
		conn.handed = &handed{p: *first}
	}
	conn.startReading()
	return conn, nil
}

// dial opens the transport's connection.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	given := c.given
	c.given = nil
	c.mu.Unlock()
	switch {
	case given != nil:
		return given, nil
	case c.opts.DialFunc != nil:
		return c.opts.DialFunc(ctx, c.addr)
	case c.addr == "":
		return nil, localErr(Unavailable, NotSent, nil, "the connection given to NewClientConn has ended: set DialFunc to dial again")
	}
	if err := c.opts.checkPlain(c.addr); err != nil {
		return nil, err
	}
	return c.transports.Dial(ctx, c.addr)
}

// shake performs the handshake within HelloTimeout and ctx.
func (c *Client) shake(ctx context.Context, conn *Conn, hello bool, auth json.RawMessage) (*received, error) {
	if !hello && conn.datagram != nil {
		return nil, localErr(BadRequest, NotSent, nil, "over UDP there is no version 1: leave ClientOpts.NoHello out")
	}
	if !hello {
		conn.settled()
		return nil, c.checkPeer(conn)
	}
	nc := conn.proto.conn
	if err := nc.SetReadDeadline(time.Now().Add(c.ep.limits.helloTimeout)); err != nil {
		return nil, localErr(Unavailable, NotSent, err, "%v", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	first, err := conn.greet(c.ep.sers, auth)
	if ctx.Err() != nil {
		return nil, ctxErr(ctx, NotSent, "waiting for the answer to hello")
	}
	if err != nil {
		return nil, err
	}
	peer := conn.PeerInfo()
	if c.opts.RequireHello && peer.Version != 2 {
		return nil, localErr(Unavailable, NotSent, nil, "the server speaks version 1 only, and RequireHello is set")
	}
	if err := c.checkPeer(conn); err != nil {
		return nil, err
	}
	if !stop() { // ctx ended just now, and its deadline may come yet
		return nil, ctxErr(ctx, NotSent, "waiting for the answer to hello")
	}
	if err := nc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, localErr(Unavailable, NotSent, err, "%v", err)
	}
	return first, nil
}

// checkPeer says why ClientOpts.CheckPeer refuses the server.
func (c *Client) checkPeer(conn *Conn) error {
	if c.opts.CheckPeer == nil {
		return nil
	}
	if err := c.opts.CheckPeer(conn.PeerInfo()); err != nil {
		return localErr(c.ep.errors.toWire(err).code, NotSent, err, "CheckPeer: %v", err)
	}
	return nil
}

// Call calls a handler of the server, connecting first if the client never was; see
// Conn.Call.
func (c *Client) Call(ctx context.Context, path string, message, reply any) error {
	conn, err := c.connect(ctx, false)
	if err != nil {
		return err
	}
	return conn.Call(ctx, path, message, reply)
}

// Go starts a call, connecting first if the client never was; see Conn.Go.
func (c *Client) Go(ctx context.Context, path string, message, reply any) *Pending {
	conn, err := c.connect(ctx, false)
	if err != nil {
		p := &Pending{done: make(chan struct{}), err: err}
		close(p.done)
		return p
	}
	return conn.Go(ctx, path, message, reply)
}

// SendMessage sends a one-way message, connecting first if the client never was; see
// Conn.SendMessage.
func (c *Client) SendMessage(ctx context.Context, path string, message any) error {
	conn, err := c.connect(ctx, false)
	if err != nil {
		return err
	}
	return conn.SendMessage(ctx, path, message)
}

// OpenStream opens a Stream, connecting first if the client never was; see Conn.OpenStream.
func (c *Client) OpenStream(ctx context.Context, path string, message any) (*Stream, error) {
	return c.openStream(ctx, path, message, false)
}

// openStream is OpenStream, for a caller that sends no items if receives is true.
func (c *Client) openStream(ctx context.Context, path string, message any, receives bool) (*Stream, error) {
	conn, err := c.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	return conn.openStream(ctx, path, message, receives)
}

// Ping measures the time to the server and back, connecting first if the client
// never was; see Conn.Ping. timeout bounds both.
func (c *Client) Ping(length int, timeout time.Duration) (time.Duration, error) {
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := c.connect(ctx, false)
	if err != nil {
		return 0, err
	}
	return conn.ping(ctx, length, 0)
}

// Close closes the connection at once, if there is one; open calls in both directions end with
// UNAVAILABLE, and later ones fail. It returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	conn, given := c.conn, c.given
	c.closed, c.given = true, nil
	if c.abort != nil {
		c.abort()
	}
	c.mu.Unlock()
	for _, old := range c.old {
		old.close(net.ErrClosed)
	}
	if conn != nil {
		conn.close(net.ErrClosed)
	}
	if given != nil {
		given.Close()
	}
	c.ep.workers.Close()
	return nil
}
