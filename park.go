package flyrpc

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// A connection that is silent for a while is parked: its reader, whose stack has grown with the packets
// it has handled, ends, and a worker reads on when something comes. Parked connections are waited for by
// one goroutine, where the system can do that, and by one each, of the smallest stack, where it can't or where they are few.

const (
	// parkTick is how often connections are looked at that aren't parked. Those that have been
	// silent from one tick to the next are.
	parkTick = 300 * time.Millisecond
	// fewParked is how many parked connections of an endpoint have a goroutine each.
	fewParked = 16
)

// errPark says that the reader was asked to park its connection, and nothing has come.
var errPark = errors.New("flyrpc: the connection is to be parked")

// rest tells when the reader of a connection waits for a next packet.
type rest struct {
	n      atomic.Uint32 // odd while the reader waits and was not asked to park; it never has the same value twice in a row
	begun  bool          // the reader waits, asked or not; the reader's own
	listed bool          // the endpoint looks after it; the reader's own
}

// beginRest says that the reader is about to wait for a packet.
func (c *Conn) beginRest() {
	if c.rest.begun {
		return
	}
	c.rest.begun = true
	c.rest.n.Add(1)
	if !c.rest.listed {
		c.rest.listed = true
		c.ep.parking.list(c)
	}
}

// endRest says that the reader has waited, which ended with err. It returns errPark if the reader was asked to park
// and nothing came instead.
func (c *Conn) endRest(err error) error {
	c.rest.begun = false
	if n := c.rest.n.Load(); n&1 == 1 && c.rest.n.CompareAndSwap(n, n+1) {
		return err
	}
	c.rest.listed = false
	c.ep.parking.asked()
	_ = c.proto.conn.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errPark
	}
	return err
}

// park leaves the waiting to others. It ends the reader's turn.
func (c *Conn) park() {
	c.loneRequests = min(c.loneRequests, 0)
	c.trim()
	c.ep.parking.park(c)
}

// trim lets go of memory that is made again when it is needed.
func (c *Conn) trim() {
	c.in.trim()
	c.calls.trim()
	c.proto.out.trim()
	if t, ok := c.proto.conn.(interface{ Trim() }); ok {
		t.Trim()
	}
	c.answers, c.cut = nil, nil
	if len(c.halves) == 0 {
		c.halves = nil
	}
}

// trim lets go of memory that an inbox in which nothing is handled doesn't need.
func (b *inbox) trim() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) == 0 {
		b.open = nil
	}
	if len(b.early) == 0 {
		b.early = nil
	}
}

// parking looks after the connections of an endpoint that are silent. Its zero value is ready. It has a timer only
// while there are connections that aren't parked, and goroutines while there are some that are.
type parking struct {
	asking sync.Mutex // held while a reader is asked to park

	mu      sync.Mutex
	listed  []resting // their readers may be waiting
	timer   *time.Timer
	ticking bool               // the timer runs
	alone   int                // how many are parked with a goroutine each
	shared  map[uint64]*Conn   // those in set, by ID
	set     *transport.ReadSet // nil while shared is empty
}

type resting struct {
	c    *Conn
	last uint32 // its rest at the last tick
}

// list has c parked when it has been silent for a while.
func (p *parking) list(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listed = append(p.listed, resting{c, 0})
	switch {
	case p.ticking:
	case p.timer == nil:
		p.timer = time.AfterFunc(parkTick, p.tick)
	default:
		p.timer.Reset(parkTick)
	}
	p.ticking = true
}

// tick asks the readers to park that have waited since the last tick.
func (p *parking) tick() {
	var missed []resting
	for _, e := range p.silent() {
		if !p.ask(e) {
			missed = append(missed, e)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listed = append(p.listed, missed...)
	if p.ticking = len(p.listed) > 0; p.ticking {
		p.timer.Reset(parkTick)
	} else {
		p.listed = nil
	}
}

// silent takes the connections off the list whose readers have waited since the last tick, and returns them.
func (p *parking) silent() (silent []resting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := p.listed[:0]
	for _, e := range p.listed {
		n := e.c.rest.n.Load()
		switch {
		case e.c.Err() != nil:
		case n == e.last && n&1 == 1:
			silent = append(silent, e)
		default:
			keep = append(keep, resting{e.c, n})
		}
	}
	clear(p.listed[len(keep):])
	p.listed = keep
	return silent
}

// ask asks a reader to park, unless something has come just now.
func (p *parking) ask(e resting) bool {
	p.asking.Lock()
	defer p.asking.Unlock()
	if !e.c.rest.n.CompareAndSwap(e.last, e.last+1) {
		return false
	}
	_ = e.c.proto.conn.SetReadDeadline(time.Unix(1, 0))
	return true
}

// asked returns when a reader that was asked to park has its deadline.
func (p *parking) asked() {
	p.asking.Lock()
	defer p.asking.Unlock()
}

// park waits for something to come on c, elsewhere, and then has a worker read on. The turn was the caller's.
func (p *parking) park(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alone >= fewParked && p.share(c) {
		return
	}
	p.alone++
	go p.await(c)
}

// await waits for one connection, whose turn it has.
func (p *parking) await(c *Conn) {
	if err := c.proto.in.raw.WaitReadable(); err != nil {
		c.handed = &handed{err: err}
	}
	p.mu.Lock()
	p.alone--
	p.mu.Unlock()
	c.startReading()
}

// share has c waited for by the goroutine that waits for many, and frees its turn: until something comes, whoever needs
// it may have it. It reports false, and the turn is the caller's, if that can't be. It is called with the lock held.
func (p *parking) share(c *Conn) bool {
	if p.set == nil {
		set, err := transport.NewReadSet()
		if err != nil {
			return false
		}
		p.set, p.shared = set, map[uint64]*Conn{}
		go p.wait(set)
	}
	p.shared[c.id] = c
	c.turn.n.Add(1) // before it is waited for, or what comes at once would find it taken
	if p.set.Add(c.proto.in.raw.Raw(), c.id) == nil {
		return true
	}
	p.unshare(c)
	return !c.turn.take()
}

// unshare forgets that c is in the set, and the set if nobody else is. It is called with the lock held.
func (p *parking) unshare(c *Conn) {
	if delete(p.shared, c.id); len(p.shared) == 0 && p.set != nil {
		p.set.Close()
		p.set, p.shared = nil, nil
	}
}

// wait has workers read what comes on the connections in set, until there are none.
func (p *parking) wait(set *transport.ReadSet) {
	var ids [64]uint64
	for {
		n, err := set.Wait(ids[:])
		if !p.unpark(set, ids[:n], err) {
			return
		}
	}
}

// unpark has workers read the connections with the given IDs, or all if they can't be waited for. It reports whether set is
// still in use.
func (p *parking) unpark(set *transport.ReadSet, ids []uint64, failed error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set != set {
		return false
	}
	for _, id := range ids {
		if c := p.shared[id]; c != nil {
			set.Remove(c.proto.in.raw.Raw())
			p.unshare(c)
			c.resume()
		}
	}
	if failed != nil {
		for _, c := range p.shared {
			p.unshare(c)
			c.resume()
		}
	}
	return p.set == set
}

// forget lets go of a connection that has ended.
func (p *parking) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.shared[c.id]; ok {
		p.unshare(c)
	}
}
