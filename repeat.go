package flyrpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

// errand is a call, message or stream of a client, in a form that can be made again.
type errand struct {
	path    string
	message any
	once    bool // it can't be made again once it was begun
	unknown bool // it may be made again though it is unknown whether it was executed
	opens   bool // a stream, which goes on when it was opened
	// do makes it by a connection, with t if there are several. queued is called as soon as it is queued to be written, if it isn't nil.
	do func(ctx context.Context, conn *Conn, t *balance.Target, queued func()) error
}

// mostRefusals is how often something is made again that a connection refuses which isn't lost.
const mostRefusals = 3

// persist makes e until it has succeeded or can't be repeated. If conn isn't nil it was made by conn and t already, and failed with err.
func (c *Client) persist(ctx context.Context, e *errand, conn *Conn, t *balance.Target, err error) error {
	var worst error
	var tk *ticket // kept until it is sent, so that nothing that came later overtakes it
	defer func() { c.line.leave(tk) }()
	for n := 0; ; {
		if conn != nil {
			worst = worse(worst, err)
			if !c.mayRepeat(ctx, e, conn, err, n) {
				return worst
			}
			n++
			c.lost(conn)
		}
		if conn, t, tk, err = c.connFor(ctx, e, t, tk); err != nil {
			return worse(worst, err)
		}
		if err = c.do(ctx, e, conn, t, tk); err == nil {
			return nil
		}
	}
}

// connFor returns a connection for e, waiting or dialling as the mode says, and not the target given if there is another. tk is the place of e in
// the line, or nil; it returns the one it has then.
func (c *Client) connFor(ctx context.Context, e *errand, not *balance.Target, tk *ticket) (*Conn, *balance.Target, *ticket, error) {
	if c.rec.Mode == ReconnectAlways {
		return c.hold(ctx, e, not, tk)
	}
	conn, err := c.connect(ctx, c.rec.Mode == ReconnectOnUse)
	return conn, nil, nil, err
}

// do makes e by a connection.
func (c *Client) do(ctx context.Context, e *errand, conn *Conn, t *balance.Target, tk *ticket) (err error) {
	var queued func()
	if tk != nil {
		queued = func() { c.line.leave(tk) }
	}
	if t != nil {
		begun := c.begun(ctx)
		t.Begin()
		err = errPanicked
		defer func() {
			if err != nil || !e.opens {
				c.account(t, conn, begun, err)
			}
		}()
	}
	return e.do(ctx, conn, t, queued)
}

// errPanicked stands for a call that ended with a panic, or the end of the goroutine.
var errPanicked = errors.New("flyrpc: the call's goroutine ended")

// begun returns the time, which is when a call with ctx begins, if that matters: if it may end with its deadline.
func (c *Client) begun(ctx context.Context) (now time.Time) {
	if _, ok := ctx.Deadline(); ok || c.ep.invoke != nil { // interceptors may set one
		return time.Now()
	}
	return now
}

// account says what the end of a call tells about its target. begun is what c.begun has returned then.
func (c *Client) account(t *balance.Target, conn *Conn, begun time.Time, err error) {
	if err == nil {
		t.End(false)
		if c.line.n.Load() > 0 {
			c.line.wake() // its breaker may have closed
		}
		return
	}
	var e *Error
	switch {
	case !conn.fit() || !errors.As(err, &e) || e.delivery == NotSent || e.Code == Canceled:
		t.Drop() // it says nothing about the target, or that is down
	case e.Code == Timeout && !begun.IsZero() && time.Since(begun) < c.opts.Balance.Pause:
		t.Drop() // it was in haste
	case e.Code == Timeout:
		t.End(true)
	case e.delivery == Unknown && !e.remote && !conn.relays():
		t.Drop() // something on this side has failed
	case e.Code == Unavailable || e.Code == Busy || e.Code == Internal:
		t.End(true)
	default:
		t.End(false)
	}
}

// mayRepeat reports whether e, which was made again n times and has failed with err by conn, may be made again. If conn isn't
// lost it waits before.
func (c *Client) mayRepeat(ctx context.Context, e *errand, conn *Conn, err error, n int) bool {
	var failed *Error
	if c.rec.Mode == ReconnectNever || e.once || n >= c.rec.Repeats || ctx.Err() != nil || !errors.As(err, &failed) || failed.Code != Unavailable {
		return false
	}
	if failed.delivery == Answered || failed.delivery == Unknown && !e.unknown {
		return false
	}
	if !conn.fit() {
		return true
	}
	// A server that shuts down may refuse a request before its bye comes.
	if !failed.remote || n >= mostRefusals {
		return false
	}
	return pauseFor(ctx, conn, rand.N(c.rec.Backoff)+1)
}

// pauseFor waits for d, or until conn is lost. It returns false, at once, if ctx ends before.
func pauseFor(ctx context.Context, conn *Conn, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	return pause(ctx, d, conn.done)
}

// worse returns err, of the last attempt, with the outcome of the attempts before if that is worse.
func worse(before, err error) error {
	var e *Error
	if before == nil || !errors.As(err, &e) || e.delivery == Answered {
		return err
	}
	rank := [...]int{NotSent: 0, NotProcessed: 1, Unknown: 2, Answered: 3}
	if d := Outcome(before); rank[d] > rank[e.delivery] {
		return e.WithDelivery(d)
	}
	return err
}

// lost has a connection looked at that something has failed by.
func (c *Client) lost(conn *Conn) {
	if conn.fit() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.conn.Load() == conn {
			l.check()
		}
	}
}

// pick returns a connection that takes calls, with its target if there are several, and not the target given. The error says why
// there is none.
func (c *Client) pick(ctx context.Context, not *balance.Target) (*Conn, *balance.Target, error) {
	if c.lone != nil {
		if conn := c.lone.conn.Load(); conn != nil && conn.fit() {
			return conn, nil, nil
		}
		return nil, nil, nil
	}
	key := ""
	if c.opts.Balance.Strategy == Sticky {
		key = stickyKey(ctx)
	}
	for {
		t, err := c.set.Pick(key, not)
		if err != nil {
			return nil, nil, err
		}
		conn := t.Value.(*link).conn.Load()
		if conn.fit() {
			return conn, t, nil
		}
		c.lost(conn)
	}
}

// pickOther is pick that takes the target given if there is no other.
func (c *Client) pickOther(ctx context.Context, not *balance.Target) (*Conn, *balance.Target, error) {
	conn, t, err := c.pick(ctx, not)
	if conn == nil && not != nil {
		return c.pick(ctx, nil)
	}
	return conn, t, err
}

// ready is pick for something new: nothing may be waiting before it.
func (c *Client) ready(ctx context.Context) (*Conn, *balance.Target) {
	if c.line.n.Load() > 0 {
		return nil, nil
	}
	conn, t, _ := c.pick(ctx, nil)
	return conn, t
}
