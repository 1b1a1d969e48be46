package flyrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// The codes of frames of a call that is open.
const (
	itemCode   = ""
	pieceCode  = "+"
	endCode    = "e"
	cancelCode = "c"
	creditCode = "w"
)

// streamFrame takes a packet with STREAM: a frame of a call that is open, or what opens one.
func (c *Conn) streamFrame(p *received, m *mode) error {
	switch {
	case p.flag&FlagZipCode != 0 && p.flag&(FlagResponse|FlagWait) != FlagWait:
		return fmt.Errorf("flyrpc: a frame of a call has the flags %#x; its code is never compressed", uint8(p.flag))
	case p.flag&FlagResponse != 0:
		return c.answerFrame(p)
	case p.flag&FlagWait == 0:
		return c.callFrame(p)
	case string(p.code) == pieceCode:
		return c.openingPiece(p)
	default:
		return c.request(p, m)
	}
}

// answerFrame takes a frame of a call of this side.
func (c *Conn) answerFrame(p *received) error {
	switch string(p.code) {
	case itemCode:
		s, first := c.calls.stream(c, p.seq, true)
		if s == nil {
			return nil
		}
		err := s.putItem(p)
		if first {
			s.slot.ready <- struct{}{}
		}
		return err
	case pieceCode:
		if s, _ := c.calls.stream(c, p.seq, false); s != nil {
			return s.putPiece(p)
		}
	case creditCode:
		n, err := creditOf(p)
		if err != nil {
			return err
		}
		if s, _ := c.calls.stream(c, p.seq, false); s != nil {
			return s.out.add(n)
		}
	}
	return nil
}

// callFrame takes a frame of a call of the other end.
func (c *Conn) callFrame(p *received) error {
	in := c.in.find(p.seq)
	switch string(p.code) {
	case cancelCode:
		if in != nil {
			in.cancel(context.Canceled)
			in.cutItems()
			return nil
		}
		return c.cancelHalf(p.seq)
	case creditCode:
		n, err := creditOf(p)
		switch {
		case err != nil:
			return err
		case p.seq == 0:
			return c.messages.add(n)
		case in != nil:
			return in.stream().out.add(n)
		case c.halves[p.seq] != nil:
			return c.halves[p.seq].out.add(n)
		}
	case itemCode:
		if in != nil {
			return in.stream().putItem(p)
		}
	case pieceCode:
		if in != nil {
			return in.stream().putPiece(p)
		}
	case endCode:
		if in != nil {
			return in.stream().putEnd()
		}
	}
	return nil
}

// creditOf returns what a credit frame grants.
func creditOf(p *received) (uint64, error) {
	n, w := binary.Uvarint(p.payload)
	if w <= 0 || w != len(p.payload) || p.flag&(FlagMeta|zipBits) != 0 {
		return 0, fmt.Errorf("flyrpc: the payload of a credit frame, %x, is no uvarint", p.payload[:min(len(p.payload), 16)])
	}
	return n, nil
}

// tooManyCalls is why a connection ends whose other end breaks the rules on sequences.
func (c *Conn) tooManyCalls(seq uint16) error {
	return fmt.Errorf("flyrpc: request %d of the other end is open already, or it has more than %d calls open", seq, c.ep.limits.maxCalls)
}

// isFree reports whether a request may have a sequence: it isn't 0, nor that of another request.
func (b *inbox) isFree(seq uint16) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, dup := b.open[seq]
	return !dup && seq != 0
}

// maxWhole is the most bytes that pieces are joined to.
func (l *limits) maxWhole() int { return l.maxMessage + maxMetaLen + 3 }

// putItem takes an item.
func (s *Stream) putItem(p *received) error {
	in := &s.in
	in.mu.Lock()
	cost, err := in.take(p)
	if err == nil && in.ended && !in.stray {
		err = errors.New("flyrpc: an item came after the end of the caller's items")
	}
	if err != nil {
		in.mu.Unlock()
		return err
	}
	drop := in.drop
	claimed := s.push(p, cost)
	wake := in.waiting
	in.waiting, in.wants = false, false
	in.mu.Unlock()
	if wake {
		in.wake()
	}
	if claimed {
		s.conn.dropJoin(s, false)
	}
	if drop {
		s.grant(false)
	}
	return nil
}

// push puts an item that took cost into the queue, or drops it. It reports whether there is a
// claim to be dropped. It is called with the lock held.
func (s *Stream) push(p *received, cost int) (claimed bool) {
	in, bufs := &s.in, &s.conn.ep.bufs
	if in.drop {
		in.window.Return(cost + in.part.owed)
		return in.part.reset(bufs)
	}
	limit := s.conn.ep.limits.maxWhole()
	if !in.part.begun && p.shared && len(p.payload) <= limit {
		in.queue.add(p.flag, p.payload, cost, bufs)
		return false
	}
	whole, long, owed, claimed := in.part.finish(p.payload, p.shared, limit, bufs)
	if long {
		in.queue.list = append(in.queue.list, item{kind: longItem, cost: uint32(cost + owed)})
		return claimed
	}
	in.queue.addLarge(p.flag, whole, cost+owed, bufs)
	return claimed
}

// putPiece takes a piece of what isn't complete.
func (s *Stream) putPiece(p *received) error {
	if p.flag&(FlagMeta|zipBits) != 0 {
		return fmt.Errorf("flyrpc: a piece has the flags %#x; META and ZIP stand on the last packet only", uint8(p.flag))
	}
	in := &s.in
	in.mu.Lock()
	cost, err := in.take(p)
	if err == nil && in.ended && !in.stray {
		err = errors.New("flyrpc: a piece came after the end of the caller's items")
	}
	if err != nil {
		in.mu.Unlock()
		return err
	}
	claim, unclaim := in.part.add(in, p, cost, s.conn.ep.limits.maxWhole(), &s.conn.ep.bufs)
	in.mu.Unlock()
	switch {
	case claim:
		s.conn.claimJoin(s, false)
	case unclaim:
		s.conn.dropJoin(s, false)
	}
	s.grant(false)
	return nil
}

// putEnd takes the end of the caller's items.
func (s *Stream) putEnd() error {
	in := &s.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.part.begun && !in.drop {
		return errors.New("flyrpc: the caller's items end within one")
	}
	in.ended = !in.cut
	if in.ended && in.waiting {
		in.waiting = false
		in.wake()
	}
	return nil
}

// wake lets the program look again, which waits or has just ceased to.
func (in *inflow) wake() {
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// finishPart completes a request, message or response with its last packet. It is too long if
// long is true.
func (s *Stream) finishPart(p *received) (long bool) {
	in := &s.in
	in.mu.Lock()
	var owed int
	var claimed bool
	if in.part.begun {
		p.whole = new(pieces)
		*p.whole, long, owed, claimed = in.part.finish(p.payload, p.shared, s.conn.ep.limits.maxWhole(), &s.conn.ep.bufs)
		p.payload, p.shared = nil, false
	}
	in.window.Return(owed)
	in.mu.Unlock()
	if claimed {
		s.conn.dropJoin(s, false)
	}
	return long
}

// grant tells the other end what it may send further, if that is enough to be worth it. kick
// has it written at once; the reader does so anyhow before it waits.
func (s *Stream) grant(kick bool) {
	in := &s.in
	in.mu.Lock()
	n := 0
	if !in.over {
		n = in.window.Grant()
	}
	if n > 0 { // with the lock held: no credit follows what ends the call
		s.conn.proto.out.putCredit(s.flag, s.seq, n)
	}
	in.mu.Unlock()
	if n > 0 && kick {
		s.conn.proto.out.kick()
	}
}

// maxJoins is how many messages in pieces are completed at a time on a connection. Others wait with what fits their windows.
const maxJoins = 4

// claimJoin asks for the memory to complete what s has a part of.
func (c *Conn) claimJoin(s *Stream, kick bool) {
	m := c.memory()
	m.mu.Lock()
	mine := s.in.claims() && m.joins.Claim(s)
	if mine {
		s.in.granted()
	}
	m.mu.Unlock()
	if mine {
		s.grant(kick)
	}
}

// dropJoin ends the claim of s, if it has one, and lets the next one go on.
func (c *Conn) dropJoin(s *Stream, kick bool) {
	m := c.memory()
	m.mu.Lock()
	next, ok := m.joins.Drop(s)
	if ok {
		next.in.granted()
	}
	m.mu.Unlock()
	if ok {
		next.grant(kick)
	}
}

// claims reports whether there still is something to be completed.
func (in *inflow) claims() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.part.claimed
}

// granted returns what was charged for what may be completed now.
func (in *inflow) granted() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.part.claimed {
		in.part.granted = true
		in.window.Return(in.part.owed)
		in.part.owed = 0
	}
}
