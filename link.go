package flyrpc

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// maxOld is how many connections that take no new calls a link keeps while their calls end, beside the one it uses.
const maxOld = 8

// link is one connection that a client has to an address, and those that it replaces.
type link struct {
	cli    *Client
	addr   string
	target *balance.Target // nil if the client has no other link
	ctx    context.Context // ends when the link isn't wanted any more
	cancel context.CancelFunc
	wake   chan struct{}        // capacity 1: ends a pause
	conn   atomic.Pointer[Conn] // the last one, which may be lost; nil if there was none

	// Guarded by Client.mu.
	old    []*Conn // that take no new calls, and are still being closed in order
	up     bool    // conn takes calls, as far as is known
	state  State   // Idle, Connecting or Waiting while it isn't up
	tries  int     // attempts that have ended
	fails  int     // of which so many failed in a row
	err    error   // of the last one, or why the connection was lost; nil while it is up
	born   time.Time
	pauses *pauses
}

// newLink returns a link that isn't connected yet.
func (c *Client) newLink(addr string) *link {
	l := &link{cli: c, addr: addr, wake: make(chan struct{}, 1), pauses: c.rec.pauses()}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	return l
}

// fit reports whether the connection takes new calls.
func (c *Conn) fit() bool { return !c.spent() && !c.retiring.Load() }

// spent reports whether the connection is lost, or the other end has said bye.
func (c *Conn) spent() bool { return c.Err() != nil || c.bye.Load() != nil }

// adopt makes conn the link's connection. It is called with the client's lock held.
func (l *link) adopt(conn *Conn) {
	c := l.cli
	if before := l.conn.Load(); before != nil && before.Err() == nil {
		l.old = append(slices.DeleteFunc(l.old, func(o *Conn) bool { return o.Err() != nil }), before)
		if len(l.old) > maxOld {
			c.ep.workers.Go(closeTask{l.old[0]}, nil)
			l.old = l.old[1:]
		}
	}
	l.conn.Store(conn)
	l.up, l.state, l.err, l.fails, l.born = true, Idle, nil, 0, time.Now()
	if l.target != nil {
		l.target.Up()
	}
	c.changed(nil)
	c.line.wake()
	l.check() // it may be lost by now
}

// closeTask closes a connection at once, which may take a while: the client's lock isn't held for it.
type closeTask struct{ conn *Conn }

// Run closes it.
func (t closeTask) Run(*pool.Worker) { t.conn.close(net.ErrClosed) }

// check finds out whether the link's connection takes no calls any more. It is called with the client's lock held.
func (l *link) check() {
	conn := l.conn.Load()
	if !l.up || conn.fit() {
		return
	}
	l.up = false
	if l.target != nil {
		l.target.Down()
	}
	err := conn.Err()
	if bye := conn.bye.Load(); bye != nil {
		err = bye
	}
	l.err = err
	if l.cli.rec.Mode == ReconnectAlways && !conn.retiring.Load() {
		l.start()
	}
	l.cli.changed(err)
}

// start has the link connected, unless that is being done. It is called with the client's lock held.
func (l *link) start() {
	if l.up || l.state != Idle || l.ctx.Err() != nil {
		return
	}
	var first time.Duration
	if time.Since(l.born) < l.cli.rec.MaxPause { // it didn't last
		first = l.pauses.NextBackOff()
	} else {
		l.pauses.Reset()
	}
	l.state = Connecting
	l.cli.ep.workers.Go(linkTask{l, first}, nil)
}

// linkTask connects a link.
type linkTask struct {
	l     *link
	first time.Duration // pause
}

// Run makes attempts until one succeeds, or the link isn't wanted any more, or Attempts have failed.
func (t linkTask) Run(w *pool.Worker) {
	defer w.End()
	l, d := t.l, t.first
	ended := true
	defer func() {
		if ended {
			return
		}
		err := localErr(Internal, NotSent, nil, "DialFunc, Auth, CheckPeer or OnReconnect has ended the goroutine that connects")
		if d, again := l.tried(nil, err); again {
			l.cli.ep.workers.Go(linkTask{l, d}, nil)
		}
	}()
	for again := true; again; {
		if d > 0 {
			l.pause(d)
		}
		ctx, cancel := context.WithTimeout(l.ctx, l.cli.rec.Timeout)
		ended = false
		conn, err := l.cli.establish(ctx, l)
		ended = true
		cancel()
		d, again = l.tried(conn, err)
	}
}

// pause waits for d, unless the link is wanted sooner or not at all.
func (l *link) pause(d time.Duration) {
	l.enter(Waiting)
	pause(l.ctx, d, l.wake)
	l.enter(Connecting)
}

// enter says what is done about a link that isn't up.
func (l *link) enter(s State) {
	c := l.cli
	c.mu.Lock()
	defer c.mu.Unlock()
	l.state = s
	c.changed(l.err)
}

// tried takes the result of an attempt. It returns whether to make another one, and after what pause.
func (l *link) tried(conn *Conn, err error) (d time.Duration, again bool) {
	c := l.cli
	c.mu.Lock()
	defer c.mu.Unlock()
	l.tries++
	if l.ctx.Err() != nil {
		if conn != nil {
			c.ep.workers.Go(closeTask{conn}, nil)
		}
		l.state = Idle
		return 0, false
	}
	if err == nil {
		l.adopt(conn)
		return 0, false
	}
	l.err = err
	l.fails++
	if again = c.rec.Attempts == 0 || l.fails < c.rec.Attempts; again {
		d = l.pauses.NextBackOff()
	} else {
		l.state, l.fails = Idle, 0
		c.changed(err)
	}
	c.giveUp(err)
	return d, again
}

// giveUp has what waits fail with err, if no link can be expected to come up. It is called with the lock held.
func (c *Client) giveUp(err error) {
	c.tell()
	idle, hopeless := true, true
	for _, l := range c.links {
		if l.up || l.state != Idle && l.fails == 0 {
			return
		}
		idle = idle && l.state == Idle
		hopeless = hopeless && !mayPass(l.err)
	}
	if idle || hopeless {
		c.line.fail(err)
	}
}

// lostTask is told by a connection that it takes no calls any more.
type lostTask struct{ l *link }

// Run has the link connected again, if that is wanted.
func (t lostTask) Run(*pool.Worker) {
	c := t.l.cli
	c.mu.Lock()
	defer c.mu.Unlock()
	t.l.check()
}

// changed notes the client's state, for which err is the reason. It is called with the lock held.
func (c *Client) changed(err error) {
	state := Idle
	for _, l := range c.links {
		switch {
		case l.up:
			state = Connected
		case state != Connected && l.state == Connecting:
			state = Connecting
		case state == Idle && l.state == Waiting:
			state = Waiting
		}
	}
	if c.closed {
		state = Closed
	}
	c.states.set(state, err)
	c.tell()
}

// tell wakes those who wait in Connect. It is called with the lock held.
func (c *Client) tell() {
	if c.news != nil {
		close(c.news)
		c.news = nil
	}
}

// notConnected returns why something that isn't sent yet fails.
func (c *Client) notConnected(how string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClientClosed()
	}
	err := c.resolveErr
	for _, l := range c.links {
		if l.err != nil {
			err = l.err
		}
	}
	if err != nil {
		return localErr(Unavailable, NotSent, err, "there is no connection, %s: %v", how, err)
	}
	return localErr(Unavailable, NotSent, nil, "there is no connection, %s", how)
}
