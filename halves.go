package flyrpc

import "github.com/go-flyrpc/flyrpc/internal/flow"

// Requests and one-way messages of which only pieces have come belong to whoever reads the
// connection, as they are open for nobody else.

// openingPiece takes a piece of a request or one-way message.
func (c *Conn) openingPiece(p *received) error {
	s := c.halves[p.seq]
	if s == nil {
		if p.seq == 0 || !c.in.admitsHalf(p.seq, len(c.halves)) {
			return c.tooManyCalls(p.seq)
		}
		s = newStream(c, p.seq, FlagStream|FlagResponse)
		s.in.wants = true
		if c.halves == nil {
			c.halves = make(map[uint16]*Stream)
		}
		c.halves[p.seq] = s
		c.in.setHalves(len(c.halves))
	}
	return s.putPiece(p)
}

// takeHalf removes and returns what has come in pieces with a sequence, or returns nil.
func (c *Conn) takeHalf(seq uint16) *Stream {
	s := c.halves[seq]
	if s != nil {
		delete(c.halves, seq)
		c.in.setHalves(len(c.halves))
	}
	return s
}

// dropHalf drops what has come in pieces with a sequence.
func (c *Conn) dropHalf(seq uint16) {
	if s := c.takeHalf(seq); s != nil {
		s.end()
		c.progress()
	}
}

// cancelHalf drops a request or message of which only pieces have come, and says so.
func (c *Conn) cancelHalf(seq uint16) error {
	if c.halves[seq] == nil {
		return nil
	}
	c.dropHalf(seq)
	return c.reject(seq, Canceled, "the call was cancelled before all of it had come")
}

// completeHalf completes a request or message that has come in pieces with its last packet. It is too
// long if long is true. If items are to follow, s is their stream.
func (c *Conn) completeHalf(p *received) (s *Stream, long bool) {
	if len(c.halves) == 0 {
		return nil, false
	}
	if s = c.takeHalf(p.seq); s == nil {
		return nil, false
	}
	long = s.finishPart(p)
	if p.flag&FlagStream == 0 {
		s.close()
	}
	return s, long
}

// dropLong accounts for a one-way message that is dropped as it comes.
func (c *Conn) dropLong(p *received) error {
	if c.mode.Load().whole {
		return nil
	}
	c.dropHalf(p.seq)
	cost := flow.Cost(int(min(p.length, flow.Max-flow.Overhead)))
	if err := c.in.charge(cost); err != nil {
		return err
	}
	c.returnMessage(cost, false)
	return nil
}

// returnMessage returns the credit of a one-way message. kick has it written at once; the reader does so anyhow before
// it waits.
func (c *Conn) returnMessage(cost int, kick bool) {
	n := c.in.giveBack(cost)
	if n == 0 {
		return
	}
	c.proto.out.putCredit(FlagStream, 0, n)
	if kick {
		c.proto.out.kick()
	}
}

// dropPart drops the pieces of an answer that can't be read.
func (s *slot) dropPart() {
	if s.stream != nil {
		s.stream.discardPart()
	}
}
