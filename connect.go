package flyrpc

import (
	"context"
	"net"
)

// Connect connects the client and agrees with the server on how to speak, unless it is connected. It may be called
// again when the connection was lost, or the server has said that it takes no new calls on it. The error is an Error, with the server's code if it refused.
//
// In the mode ReconnectAlways it returns when there is one connection, or all addresses have been tried once and failed; the client goes on
// trying then.
func (c *Client) Connect(ctx context.Context) error {
	if c.rec.Mode == ReconnectAlways {
		return c.awaitUp(ctx)
	}
	_, err := c.connect(ctx, true)
	return err
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
	conn, err := c.establish(ctx, c.lone)
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
		c.lone.state = Idle
		c.changed(err)
		return nil, err
	}
	c.lone.adopt(conn)
	return conn, nil
}

// abortWith has Close call cancel, unless the client is closed already.
func (c *Client) abortWith(cancel context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = cancel
	c.lone.check()
	c.lone.state = Connecting
	c.changed(nil)
	return !c.closed
}

// usable returns the connection if it can be used. Both results are nil if there is none.
func (c *Client) usable(again bool) (*Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClientClosed()
	}
	conn := c.lone.conn.Load()
	if conn != nil && (again && conn.spent() || conn.retiring.Load()) {
		return nil, nil
	}
	return conn, nil
}

func errClientClosed() error {
	return localErr(Unavailable, NotSent, net.ErrClosed, "the client is closed")
}

// keepUp has all links connected from now on, or says why that can't be.
func (c *Client) keepUp() error {
	if c.optsErr != nil {
		return localErr(BadRequest, NotSent, c.optsErr, "%v", c.optsErr)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClientClosed()
	}
	c.resolveOnce()
	for _, l := range c.links {
		l.check()
		l.start()
	}
	c.changed(nil)
	return nil
}

// awaitUp waits until there is a connection, or every address has been tried.
func (c *Client) awaitUp(ctx context.Context) error {
	if err := c.keepUp(); err != nil {
		return err
	}
	before := c.hurry()
	for {
		news, err := c.firstTries(before)
		if news == nil {
			return err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctxErr(ctx, NotSent, "waiting for the connection")
		}
	}
}

// hurry ends the pauses, and returns how often each link that isn't up was tried.
func (c *Client) hurry() map[*link]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	tries := make(map[*link]int)
	for _, l := range c.links {
		tries[l] = l.tries
		if l.state == Waiting {
			select {
			case l.wake <- struct{}{}:
			default:
			}
		}
	}
	return tries
}

// firstTries returns a channel that is closed when there is news, or nil if a link is up, or all have been tried
// since and have failed.
func (c *Client) firstTries(before map[*link]int) (news <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClientClosed()
	}
	err = c.resolveErr
	for _, l := range c.links {
		if l.up {
			return nil, nil
		}
		if l.tries > before[l] {
			err = l.err
		}
	}
	for _, l := range c.links {
		if l.tries == before[l] {
			err = nil
		}
	}
	if err != nil && Outcome(err) == Unknown { // why a connection was lost at once
		err = notSent(err)
	}
	if err != nil {
		return nil, err
	}
	if c.news == nil {
		c.news = make(chan struct{})
	}
	return c.news, nil
}
