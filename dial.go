package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// establish makes a connection for a link, which OnReconnect has seen.
func (c *Client) establish(ctx context.Context, l *link) (*Conn, error) {
	conn, err := c.agree(ctx, l)
	if e, ok := err.(*Error); ok && e.delivery == Unknown { // of DialFunc, or of a connection that was lost meanwhile
		err = e.WithDelivery(NotSent)
	}
	if err != nil || c.rec.OnReconnect == nil {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.rec.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.close(net.ErrClosed) })
	defer stop()
	if err = c.reconnected(ctx, conn); err == nil && (ctx.Err() != nil || !stop()) {
		err = ctxErr(ctx, NotSent, "OnReconnect")
	}
	if err != nil {
		conn.close(net.ErrClosed)
		return nil, err
	}
	return conn, nil
}

// reconnected calls OnReconnect.
func (c *Client) reconnected(ctx context.Context, conn *Conn) (err error) {
	returned := false
	defer func() {
		if !returned {
			conn.close(net.ErrClosed)
		}
		if r := recover(); r != nil {
			c.ep.log.Error("flyrpc: OnReconnect panicked", "panic", fmt.Sprint(r))
			err = localErr(Internal, NotSent, nil, "OnReconnect panicked")
		}
	}()
	err = c.rec.OnReconnect(ctx, conn)
	if returned = true; err != nil {
		return localErr(c.ep.errors.toWire(err).code, NotSent, err, "OnReconnect: %v", err)
	}
	return nil
}

// agree dials and agrees with the server. A server that ignores hello is dialled
// once more and spoken to in version 1, unless the client has met one of version 2: then it was the network
// that has lost hello or the answer.
func (c *Client) agree(ctx context.Context, l *link) (*Conn, error) {
	if c.optsErr != nil {
		return nil, localErr(BadRequest, NotSent, c.optsErr, "%v", c.optsErr)
	}
	auth, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.attempt(ctx, l, !c.opts.NoHello, auth)
	if !errors.Is(err, errSilent) {
		return conn, err
	}
	if c.opts.RequireHello {
		return nil, localErr(Unavailable, NotSent, err, "%v within %v, and RequireHello is set", err, c.ep.limits.helloTimeout)
	}
	if c.modern.Load() {
		return nil, localErr(Unavailable, NotSent, err, "%v within %v, and version 2 was spoken before", err, c.ep.limits.helloTimeout)
	}
	if !c.redials() {
		return nil, localErr(Unavailable, NotSent, err, "%v within %v: set NoHello if it speaks version 1", err, c.ep.limits.helloTimeout)
	}
	return c.attempt(ctx, l, false, nil)
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
func (c *Client) attempt(ctx context.Context, l *link, hello bool, auth json.RawMessage) (*Conn, error) {
	if !hello && c.opts.RequireHello {
		return nil, localErr(BadRequest, NotSent, nil, "ClientOpts.NoHello and RequireHello exclude each other")
	}
	nc, err := c.dial(ctx, l.addr)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, err
		}
		if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
			<-ctx.Done() // the dialler's timer may go off before the context's
		}
		if ctx.Err() != nil {
			return nil, ctxErr(ctx, NotSent, fmt.Sprintf("dialling %s: %v", l.addr, err))
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
	if conn.PeerInfo().Version == 2 {
		c.modern.Store(true)
	}
	conn.proto.accept(conn.maxPayload())
	conn.proto.in.parks = conn
	if first != nil {
		conn.handed = &handed{p: *first}
	}
	conn.onSpent = func() { c.ep.workers.Go(lostTask{l}, nil) }
	conn.startReading()
	return conn, nil
}

// dial opens the transport's connection.
func (c *Client) dial(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	given := c.given
	c.given = nil
	c.mu.Unlock()
	switch {
	case given != nil:
		return given, nil
	case c.opts.DialFunc != nil:
		return c.opts.DialFunc(ctx, addr)
	case addr == "":
		return nil, localErr(Unavailable, NotSent, nil, "the connection given to NewClientConn has ended: set DialFunc to dial again")
	}
	if err := c.opts.checkPlain(addr); err != nil {
		return nil, err
	}
	return c.transports.Dial(ctx, addr)
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
