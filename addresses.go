package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// maxLinks is the most connections a client keeps up.
const maxLinks = 1024

// Strategy says which of a client's connections a call goes by.
type Strategy int

const (
	// RoundRobin takes one after the other.
	RoundRobin Strategy = iota
	// LeastInFlight takes one that has the fewest calls and streams open, of this client's.
	LeastInFlight
	// Sticky takes the same one for all calls with the same key, of WithStickyKey: when a connection is lost only its own keys go to others, and come
	// back with it. All clients that have the same addresses agree. Calls without a key go round robin.
	Sticky
)

// Balance says how calls are divided among a client's connections, which it has if it was given several addresses, as in
// tcp://a:7000,b:7000, or a Resolver, or with ConnsPerAddr. The client keeps each of them up: see ReconnectAlways. Calls and messages
// go by those that are there; when there is none they wait. With IdleTimeout, connections that aren't used end, and are made again when none is left.
// The zero value means the defaults.
type Balance struct {
	// Strategy is how a connection is chosen for a call. Default: RoundRobin.
	Strategy Strategy
	// ConnsPerAddr is how many connections there are to each address. Default 1. All together there are 1,024 at most.
	ConnsPerAddr int
	// Failures is how many calls by a connection have to fail in a row for it to be left out, as long as it doesn't break: with UNAVAILABLE, TIMEOUT,
	// BUSY or INTERNAL. A TIMEOUT counts only if the call has had Pause at least, as others say more of the caller's haste than of the
	// server, and it isn't a stream's by which items have come; nor does what fails on this side. After Pause one call goes by it again: if that succeeds all do, and if it fails the pause doubles. Calls that were not sent don't
	// count. While all are left out, calls wait as if there were none. Default 5; negative means never.
	Failures int
	// Pause is how long a connection is left out first. Default 1 s.
	Pause time.Duration
	// MaxPause is how long it is left out at most. Default 30 s, or Pause if that is longer.
	MaxPause time.Duration
	// Hedge is after how long without an answer a call is made by a second connection as well, the first answer counting: a call, not a message or
	// stream, whose context is of WithIdempotent and that carries no io.Reader. The reply is decoded into a new value, which is
	// copied to where the caller wants it. The server is told to cancel the other one. Default 0: never.
	Hedge time.Duration
}

// redials reports whether the client has something to dial.
func (c *Client) redials() bool {
	return c.addr != "" || c.opts.DialFunc != nil || c.opts.Resolver != nil
}

// findLinks makes the links of the addresses that are known, and sets how they are kept.
func (c *Client) findLinks() error {
	b := &c.opts.Balance
	addrs := []string{c.addr}
	if c.opts.DialFunc == nil {
		addrs = splitAddr(c.addr)
	}
	if c.opts.Resolver == nil && len(addrs) == 1 && b.ConnsPerAddr <= 1 {
		if !c.redials() {
			c.rec.Mode = ReconnectNever
		}
		c.lone = c.newLink(c.addr)
		c.links = []*link{c.lone}
		return nil
	}
	c.rec.Mode = ReconnectAlways
	setDefault(&b.Pause, balance.DefaultPause)
	c.set = balance.New(balance.Options{
		Strategy: balance.Strategy(b.Strategy), Failures: b.Failures, Pause: b.Pause, MaxPause: b.MaxPause,
	})
	if c.opts.Resolver != nil {
		return nil
	}
	if n := len(addrs) * max(1, b.ConnsPerAddr); n > maxLinks {
		return fmt.Errorf("flyrpc: %d connections are asked for (addresses times Balance.ConnsPerAddr), %d is the most", n, maxLinks)
	}
	c.setAddrs(addrs)
	return nil
}

// splitAddr divides an address at its commas. A part without a scheme has that of the part before; the paths of unix may have commas,
// behind which no scheme comes.
func splitAddr(addr string) (addrs []string) {
	scheme := ""
	for part := range strings.SplitSeq(addr, ",") {
		s, _, ok := strings.Cut(part, "://")
		switch {
		case ok:
			scheme = s + "://"
			addrs = append(addrs, part)
		case len(addrs) == 0:
			addrs = append(addrs, part)
		case scheme == "unix://" || scheme == "ipc://":
			addrs[len(addrs)-1] += "," + part
		default:
			addrs = append(addrs, scheme+part)
		}
	}
	return addrs
}

// setAddrs has the client use these addresses and no others from now on.
func (c *Client) setAddrs(addrs []string) {
	addrs = slices.Clone(addrs)
	per := min(max(1, c.opts.Balance.ConnsPerAddr), maxLinks)
	if most := maxLinks / per; len(addrs) > most {
		c.ep.log.Warn("flyrpc: the Resolver has found more addresses than are used", "found", len(addrs), "used", most)
		addrs = addrs[:most]
	}
	ids, addrOf := make([]string, 0, len(addrs)*per), make(map[string]string)
	for _, addr := range addrs {
		for i := range per {
			id := addr
			if i > 0 {
				id = fmt.Sprintf("%s#%d", addr, i+1)
			}
			ids = append(ids, id)
			addrOf[id] = addr
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	added, removed := c.set.Update(ids)
	for _, t := range removed {
		c.remove(t.Value.(*link))
	}
	for _, t := range added {
		l := c.newLink(addrOf[t.ID()])
		l.target, t.Value = t, l
		c.links = append(c.links, l)
		if c.resolving {
			l.start()
		}
	}
	c.resolveErr = nil
	c.changed(nil)
}

// remove has a link end whose address isn't wanted any more: its connections end when their calls have. It is called with the lock held.
func (c *Client) remove(l *link) {
	c.links = slices.DeleteFunc(c.links, func(o *link) bool { return o == l })
	l.cancel()
	l.target.Down()
	l.up = false
	c.left = slices.DeleteFunc(c.left, func(o *Conn) bool { return o.Err() != nil })
	c.left = append(c.left, l.old...)
	if conn := l.conn.Load(); conn != nil && conn.Err() == nil {
		c.left = append(c.left, conn)
		c.ep.workers.Go(leaveTask{conn, time.Since(l.born)}, nil)
	}
	select { // a pause
	case l.wake <- struct{}{}:
	default:
	}
}

// leaveTask ends a connection in order.
type leaveTask struct {
	conn *Conn
	age  time.Duration
}

// Run waits for the connection's calls to end, for a while, and closes it.
func (t leaveTask) Run(w *pool.Worker) {
	defer w.End()
	t.conn.retire("its address isn't the server's any more, after %v", t.age)
}

// Resolver finds the addresses of a service.
type Resolver interface {
	// Resolve calls update with the addresses there are, and again each time when they have changed, until ctx ends, when the client is
	// closed. Each address is one that Dial takes; one that comes twice counts once. The client owns the slice only while update runs. If Resolve
	// returns before, it is called again after a pause, as Reconnect has them; the addresses stay what they were.
	Resolve(ctx context.Context, update func(addrs []string)) error
}

// Addrs is a Resolver whose addresses don't change.
type Addrs []string

// Resolve tells the addresses and waits for the end of ctx.
func (a Addrs) Resolve(ctx context.Context, update func([]string)) error {
	update(a)
	<-ctx.Done()
	return ctx.Err()
}

// DefaultResolveInterval is how often DNS looks a name up, if nothing else is said.
const DefaultResolveInterval = 30 * time.Second

// DNS returns a Resolver that looks up the IP addresses of an address's host, tcp://name:7000 for example, and again after every, or
// DefaultResolveInterval if that is zero or less. With a tls address set the ServerName of ClientOpts.TLS, as certificates
// are hardly for IP addresses. When a name can't be looked up the addresses stay what they were.
//
// An address that isn't given by DNS is looked up for each attempt to dial it, and is one address to Balance.
func DNS(addr string, every time.Duration) Resolver {
	setDefault(&every, DefaultResolveInterval)
	return &dns{addr: addr, every: every, lookup: net.DefaultResolver.LookupHost}
}

// dns is what DNS returns.
type dns struct {
	addr   string
	every  time.Duration
	lookup func(ctx context.Context, host string) ([]string, error)
}

// Resolve looks the name up now and then.
func (d *dns) Resolve(ctx context.Context, update func([]string)) error {
	scheme, hostPort, ok := strings.Cut(d.addr, "://")
	if !ok {
		scheme, hostPort = "", d.addr
	} else {
		scheme += "://"
	}
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || host == "" {
		return localErr(BadRequest, NotSent, err, "flyrpc.DNS looks up the host of an address like tcp://name:7000, not %q", d.addr)
	}
	var before []string
	for {
		ips, err := d.lookup(ctx, host)
		if err != nil && before == nil {
			return localErr(Unavailable, NotSent, err, "looking up %s: %v", d.addr, err)
		}
		for i, ip := range ips {
			ips[i] = scheme + net.JoinHostPort(ip, port)
		}
		if slices.Sort(ips); err == nil && !slices.Equal(ips, before) {
			before = ips
			update(ips)
		}
		if !pause(ctx, d.every, nil) {
			return ctx.Err()
		}
	}
}

// resolveOnce has the Resolver asked from now on. It is called with the lock held.
func (c *Client) resolveOnce() {
	if c.resolving {
		return
	}
	c.resolving = true
	if c.opts.Resolver != nil {
		c.ep.workers.Go(resolveTask{c}, nil)
	}
}

// resolveTask asks the Resolver.
type resolveTask struct{ c *Client }

// Run asks until the client is closed.
func (t resolveTask) Run(w *pool.Worker) {
	defer w.End()
	c := t.c
	pauses := c.rec.pauses()
	for {
		begun := time.Now()
		err := c.opts.Resolver.Resolve(c.ctx, c.setAddrs)
		if c.ctx.Err() != nil {
			return
		}
		c.resolverEnded(err)
		if time.Since(begun) >= c.rec.MaxPause {
			pauses.Reset()
		}
		if !pause(c.ctx, pauses.NextBackOff(), nil) {
			return
		}
	}
}

// resolverEnded notes why the Resolver has returned.
func (c *Client) resolverEnded(err error) {
	if err == nil {
		err = errors.New("it returned")
	}
	var e *Error
	if !errors.As(err, &e) {
		e = localErr(Unavailable, NotSent, err, "the Resolver: %v", err)
	}
	c.ep.log.Warn("flyrpc: the Resolver ended", "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	e = e.WithDelivery(NotSent)
	c.resolveErr = e
	if len(c.links) == 0 && !mayPass(e) {
		c.line.fail(e)
	}
	c.tell()
}
