package flyrpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// watch has a connection looked at by a timer. There is none until there is something to look for, and the reader
// does no more for it than to count. Nothing is done in between.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer // nil until it is needed
	over  bool        // the connection is ending
	t     timeouts
	amid  atomic.Bool // a packet that has begun is looked after
}

// retireGrace is how long the calls may still take that are open when IdleTimeout or MaxConnAge ends a connection.
const retireGrace = 30 * time.Second

// agedBy is how much MaxConnAge is varied at most, up and down, so that connections that were made together don't
// come again together.
const agedBy = 0.1

// watchOver sets the connection's timeouts, of which keepalive still has to be agreed on.
func (c *Conn) watchOver(l *limits) {
	c.watch.t = timeouts{read: l.readTimeout, idle: l.idleTimeout, interval: l.keepaliveInterval}
	if l.maxConnAge > 0 {
		c.watch.t.age = time.Duration(float64(l.maxConnAge) * (1 - agedBy + 2*agedBy*rand.Float64()))
	}
}

// watchFrom has the connection looked at from now on. KeepaliveTime of both ends is agreed on then, or the peer is
// a version 1 peer, or nothing has come yet.
func (c *Conn) watchFrom(keepalive time.Duration) {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	t, now := &w.t, c.age()
	if t.ping = keepalive; keepalive > 0 {
		t.wake(now + keepalive)
	}
	if t.idle > 0 {
		t.work, t.quiet = c.sight().work, now
		t.wake(now + t.idle/4)
	}
	if t.age > 0 {
		t.wake(t.age)
	}
	c.setWatch(now)
}

// packetBegan has the reader's packet, of which a part has come, looked after until it has come as a whole.
func (c *Conn) packetBegan() {
	w := &c.watch
	if w.amid.Load() || c.mode.Load() == nil { // the handshake has its own deadline
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.amid.Store(true)
	s := c.sight()
	w.t.await(&s)
	c.setWatch(s.now)
}

// setWatch sets the timer. It is called with the watch's lock held.
func (c *Conn) setWatch(now time.Duration) {
	w := &c.watch
	switch d := w.t.due - now; {
	case w.over || w.t.due == 0:
	case w.timer == nil:
		w.timer = time.AfterFunc(d, c.look)
	default:
		w.timer.Reset(d)
	}
}

// endWatch stops the timer: the connection is closed.
func (c *Conn) endWatch() {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// age returns for how long there is the connection.
func (c *Conn) age() time.Duration { return time.Since(c.proto.in.born) }

// timeAt returns the time at which the connection had an age.
func (c *Conn) timeAt(age time.Duration) time.Time { return c.proto.in.born.Add(age) }

// sight returns what is to be seen of the connection.
func (c *Conn) sight() sight {
	in := &c.proto.in
	s := sight{now: c.age(), read: time.Duration(in.last.Load()), bulk: in.bulk.Load()}
	if c.mode.Load() != nil {
		s.amid = in.amid.Load()
	}
	if c.watch.t.idle > 0 {
		added, busy := c.in.activity()
		s.work, s.busy = added+c.proto.out.worked(), busy || c.calls.count() > 0
	}
	return s
}

// look looks at the connection and does what has to be done.
func (c *Conn) look() {
	w := &c.watch
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	w.amid.Store(false) // before the reader's count is read: it counts before it reads this
	s := c.sight()
	w.amid.Store(s.amid&1 == 1)
	found := w.t.look(&s)
	w.over = found.ends()
	ping := w.t.ping
	c.setWatch(s.now)
	w.mu.Unlock()
	c.found(found, ping)
}

// found does what a look at the connection has shown to be necessary.
func (c *Conn) found(f finding, ping time.Duration) {
	l := &c.ep.limits
	switch f {
	case askPeer:
		c.probe()
	case isDead:
		c.close(localErr(Unavailable, Unknown, nil, "the other end is dead: nothing came for %v, nor within %v after a ping", ping, l.keepaliveInterval))
	case isSlow:
		c.close(localErr(Unavailable, Unknown, nil, "a packet took longer than ReadTimeout (%v for each 16 KiB) to come", l.readTimeout))
	case isIdle:
		c.retire("the connection was idle for %v", l.idleTimeout)
	case isOld:
		c.retire("the connection is older than %v", l.maxConnAge)
	}
}

// retire ends the connection in order: the other end opens no new calls, what it has sent until then is
// served, and the calls that are open end, for which they have retireGrace. No end is amiss then. A client, which opens no
// new calls here any more, lets its own end first: their handlers may call it.
func (c *Conn) retire(format string, limit time.Duration) {
	reason := fmt.Errorf("flyrpc: "+format+": %w", limit, net.ErrClosed)
	if c.isSilent() {
		c.close(reason)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), retireGrace)
	defer cancel()
	c.tellEnds()
	c.retiring.Store(true)
	if c.onSpent != nil {
		c.awaitIdle(ctx, func() bool { return c.calls.count() > 0 })
	}
	c.leaving.Store(!c.unfinished()) // then the other end may be leaving too
	why := localErr(Unavailable, NotSent, reason, format, limit)
	c.sayBye(why)
	c.byeHeard(ctx, max(lingerFor, c.ep.limits.keepaliveInterval)) // the link may be slow
	c.awaitIdle(ctx, c.unfinished)
	c.drain()
	if c.Err() == nil {
		c.leaving.Store(true)
	}
	if ctx.Err() != nil {
		c.cutShort(why, reason)
		return
	}
	c.calls.stop(why)
	c.awaitIdle(ctx, c.unfinished) // a call may have begun just before
	c.linger(ctx, reason)
}

// unfinished is busy that counts requests and messages of which only pieces have come.
func (c *Conn) unfinished() bool {
	_, busy := c.in.activity()
	return busy || c.calls.count() > 0
}

// activity returns how many requests and messages have come, and whether some are being handled, wait to be, or
// have come in part.
func (b *inbox) activity() (added uint64, busy bool) {
	n := b.count()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.added, n+b.halves > 0
}

// noteWork counts a request or message that doesn't come to the inbox, for IdleTimeout.
func (c *Conn) noteWork() {
	if c.ep.limits.idleTimeout == 0 {
		return
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.added++
}

// setHalves says of how many requests and messages only pieces have come.
func (b *inbox) setHalves(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.halves = n
	b.added++
}

// worked returns a number that is another one when calls or messages, or answers to them, have been queued. Pings and the like
// don't count.
func (w *writer) worked() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.appended - w.aside
}
