package flyrpc

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// A lone caller's calls come one after the other. Each wake-up of a goroutine then adds to
// what a call takes, so there are none but the system's: the caller reads the
// answer itself, and the reader of the other end runs the handler itself. The turn of
// reading is free meanwhile for whoever needs it, and the watcher gives it to a worker
// when that takes longer than expected.

const (
	// loneAfter is how many packets have to come alone, one after the other, before
	// the connection counts as a lone caller's.
	loneAfter = 16
	// maxSolo is how long handlers that run on the reader should take, with what writing
	// their answers takes. Each that takes longer weighs as much as slowWeight that
	// don't, and at maxSlow they run elsewhere again, until soloPause packets have come alone.
	maxSolo    = 50 * time.Microsecond
	slowWeight = 10
	maxSlow    = 3 * slowWeight
	soloPause  = 1000
)

// handed is what a reader has found and leaves to the next one.
type handed struct {
	p   received
	err error
}

// answeredAlone counts an answer that has come. others tells that it is not the only one to come.
func (c *Conn) answeredAlone(p *received, others bool) {
	if others || c.batch > 1 || !p.shared || !c.proto.in.turns || c.proto.in.buffered() > 0 {
		c.loneAnswers = 0
		return
	}
	c.loneAnswers++
}

// askedAlone counts a request that has come and reports whether its handler may run on the
// reader.
func (c *Conn) askedAlone() bool {
	if c.batch > 1 || !c.proto.in.turns || c.proto.in.buffered() > 0 {
		c.loneRequests = min(c.loneRequests, 0)
		return false
	}
	c.loneRequests++
	return c.loneRequests > loneAfter
}

// solo runs a handler on the reader and reports whether the turn is still its own.
func (c *Conn) solo(in *incoming) (mine bool) {
	buf := c.ep.bufs.get() // half of it for the payload, half for the answer, unless they are large
	if in.shared {
		in.payload = append(buf[:0:largeBody], in.payload...)
	}
	c.freeTurn()
	returned := false
	defer func() {
		if !returned { // runtime.Goexit
			c.resume()
		}
	}()
	in.process(buf[largeBody : largeBody : 2*largeBody-1])
	c.ep.bufs.put(buf)
	returned = true
	if !c.turn.take() {
		return false
	}
	if c.age()-in.at <= maxSolo {
		c.slowSolos = max(0, c.slowSolos-1)
	} else if c.slowSolos += slowWeight; c.slowSolos >= maxSlow {
		c.slowSolos, c.loneRequests = 0, -soloPause
	}
	return true
}

// leaveToCallers ends the reader's turn, so that the next caller reads its answer itself. It
// reports false if one waits already: then the turn is still the reader's.
func (c *Conn) leaveToCallers() bool {
	c.freeTurn()
	return !c.calls.waited() || !c.turn.take()
}

// readFor reads, if nobody does, until the answer in s has come or ctx ends. What is
// no answer is left to a worker.
func (c *Conn) readFor(ctx context.Context, s *slot) {
	if !c.turn.take() {
		return
	}
	var rest *handed
	if ctx.Done() == nil {
		rest = c.readAnswers(s)
	} else {
		stop := c.interruptRead(ctx)
		if rest = c.readAnswers(s); !stop() {
			c.cut.mend()
		}
	}
	if rest != nil {
		c.handed = rest
		if errors.Is(rest.err, errLarge) || errors.Is(rest.err, os.ErrDeadlineExceeded) {
			c.handed = nil // nothing was taken off the input
		}
		c.startReading()
		return
	}
	more := c.proto.in.buffered() > 0
	c.freeTurn()
	if more || c.calls.waited() {
		c.resume()
	}
}

// readAnswers reads answers up to that in s. It returns what else comes.
func (c *Conn) readAnswers(s *slot) *handed {
	c.proto.in.small = true
	defer func() { c.proto.in.small = false }()
	for len(s.ready) == 0 {
		p, err := c.proto.in.next()
		if err != nil {
			return &handed{p: p, err: err}
		}
		if p.flag&(FlagResponse|FlagStream|FlagZipCode) != FlagResponse || p.flag&(FlagMeta|zipBits) != 0 && c.mode.Load().v1 || c.hasHooks() {
			return &handed{p: p}
		}
		c.batch++
		c.response(&p)
	}
	return nil
}

// interruptRead ends the caller's reading when ctx ends, until stop is called.
func (c *Conn) interruptRead(ctx context.Context) (stop func() bool) {
	if c.cut == nil {
		c.cut = &cutter{conn: c.proto.conn, done: make(chan struct{}, 1)}
		c.cut.now = c.cut.cut
	}
	return context.AfterFunc(ctx, c.cut.now)
}

// cutter ends the reading of callers. It belongs to whoever has the turn.
type cutter struct {
	conn net.Conn
	now  func() // cut, made once
	done chan struct{}
}

func (k *cutter) cut() {
	_ = k.conn.SetReadDeadline(time.Unix(1, 0))
	k.done <- struct{}{}
}

// mend takes back what cut, which has begun, does.
func (k *cutter) mend() {
	<-k.done
	_ = k.conn.SetReadDeadline(time.Time{})
}
