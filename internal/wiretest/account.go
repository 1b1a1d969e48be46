package wiretest

import (
	"encoding/binary"
	"fmt"
)

// overhead is what an item or piece takes from an account beside its payload.
const overhead = 32

// account is the credit of one direction of a call, or of one-way messages.
type account struct{ initial, taken, granted int }

// left returns what may still be sent.
func (a *account) left() int { return a.initial + a.granted - a.taken }

// call is an open call, or what becomes one when its pieces have come.
type call struct {
	whole   bool // the request has come, not only pieces of it
	behind  int  // how many messages in pieces have come before the request
	in, out account
}

// callKey names a call.
type callKey struct {
	own bool // the runner has opened it
	seq uint16
}

// books is what both ends have open and may send.
type books struct {
	own, peer limits
	calls     map[callKey]*call
	in, out   account // of one-way messages
	nIn       int     // calls of the other end

	messages int            // of the other end that have come in pieces
	resting  map[uint16]int // sequences of such messages, which aren't to be used yet; and the message's number
}

// begin sets what hello has said.
func (b *books) begin() {
	b.calls, b.resting = make(map[callKey]*call), make(map[uint16]int)
	b.in, b.out = account{initial: b.own.get("messages")}, account{initial: b.peer.get("messages")}
}

// cost returns what a packet takes from an account.
func cost(p *packet) int { return len(p.payload) + overhead }

// kinds of packets, as far as the books are concerned.
type bookKind uint8

const (
	plainPacket  bookKind = iota // costs nothing, opens and ends nothing
	requestPiece                 // of a request or one-way message
	request
	oneWay
	frame // an item, or a piece of what comes after the request
	credit
	response
)

// kindOf says what a packet is. reserved is for paths of FlyRPC's own.
func kindOf(p *packet, reserved bool) bookKind {
	code := string(p.code)
	switch {
	case p.flag&flagStream != 0 && p.flag&(flagWait|flagResponse) == flagWait:
		if code == "+" {
			return requestPiece
		}
		return request
	case p.flag&flagStream != 0 && code == "w":
		return credit
	case p.flag&flagStream != 0 && (code == "" || code == "+"):
		return frame
	case p.flag&flagStream != 0 || reserved:
		return plainPacket
	case p.flag&flagResponse != 0:
		return response
	case p.flag&flagWait != 0:
		return request
	}
	return oneWay
}

// openCall returns the call that a packet belongs to, or nil.
func (b *books) openCall(p *packet, fromOwn bool) *call {
	return b.calls[callKey{fromOwn == (p.flag&flagResponse == 0), p.seq}]
}

// accountOf returns the account that a packet takes from, or nil.
func (b *books) accountOf(p *packet, kind bookKind, fromOwn bool) *account {
	var c *call
	switch kind {
	case oneWay:
		if fromOwn {
			return &b.out
		}
		return &b.in
	case requestPiece, frame:
		c = b.openCall(p, fromOwn)
	}
	switch {
	case c == nil:
		return nil
	case fromOwn:
		return &c.out
	}
	return &c.in
}

// open makes a call.
func (b *books) open(key callKey, whole bool) *call {
	c := &call{whole: whole}
	c.in.initial, c.out.initial = b.own.get("window"), b.peer.get("window")
	b.calls[key] = c
	if !key.own {
		b.nIn++
	}
	return c
}

// end forgets a call.
func (b *books) end(key callKey) {
	if b.calls[key] != nil && !key.own {
		b.nIn--
	}
	delete(b.calls, key)
}

// sent books a packet that the runner sends.
func (b *books) sent(p *packet, kind bookKind) {
	key := callKey{true, p.seq}
	switch c := b.calls[key]; kind {
	case requestPiece, request:
		if c == nil {
			b.open(key, kind == request)
		} else if kind == request {
			c.whole = true
		}
	case response:
		if c := b.calls[callKey{false, p.seq}]; c != nil && c.whole {
			b.answered(c.behind)
		}
		b.end(callKey{false, p.seq})
	case credit:
		b.grants(p, true)
	}
	if a := b.accountOf(p, kind, true); a != nil {
		a.taken += cost(p)
	}
	if kind == oneWay {
		b.endHalf(key)
	}
}

// endHalf forgets what has come in pieces, when its last packet is a message.
func (b *books) endHalf(key callKey) {
	if c := b.calls[key]; c != nil && !c.whole {
		b.end(key)
		if !key.own {
			b.messages++
			b.resting[key.seq] = b.messages
		}
	}
}

// answered books the answer to a request behind n messages in pieces: their sequences may be used.
func (b *books) answered(n int) {
	for seq, message := range b.resting {
		if message <= n {
			delete(b.resting, seq)
		}
	}
}

// came books a packet of the other end, and says what it may not do.
func (b *books) came(p *packet, kind bookKind) error {
	if n := b.own.get("frame"); len(p.payload) > n {
		return fmt.Errorf("the payload has %d bytes, the runner's frame is %d", len(p.payload), n)
	}
	key := callKey{false, p.seq}
	switch kind {
	case requestPiece, request:
		if err := b.opened(key, kind == request); err != nil {
			return err
		}
	case oneWay:
		b.endHalf(key)
	case response:
		b.end(callKey{true, p.seq})
	case credit:
		return b.grants(p, false)
	}
	a := b.accountOf(p, kind, false)
	if a == nil {
		return nil
	}
	if a.taken += cost(p); a.left() < 0 {
		return fmt.Errorf("it takes %d from an account that has %d", cost(p), a.left()+cost(p))
	}
	return nil
}

// opened books a request of the other end, or a piece of one.
func (b *books) opened(key callKey, whole bool) error {
	c := b.calls[key]
	switch {
	case key.seq == 0:
		return fmt.Errorf("a call has sequence 0")
	case b.resting[key.seq] > 0:
		return fmt.Errorf("sequence %d is that of a message in pieces, and no request behind it is answered", key.seq)
	case c != nil && c.whole:
		return fmt.Errorf("a request takes sequence %d, which is open", key.seq)
	case c != nil:
		c.whole, c.behind = whole, b.messages
		return nil
	}
	b.open(key, whole).behind = b.messages
	if n := b.own.get("calls"); b.nIn > n {
		return fmt.Errorf("%d calls are open, the runner takes %d", b.nIn, n)
	}
	return nil
}

// grants books credit. The other end may not grant more than was taken.
func (b *books) grants(p *packet, fromOwn bool) error {
	n, w := binary.Uvarint(p.payload)
	if w <= 0 || w != len(p.payload) || n > 1<<31 {
		return fmt.Errorf("the payload of w is no uvarint that can be")
	}
	var a *account
	switch c := b.openCall(p, fromOwn); {
	case p.seq == 0 && p.flag != flagStream:
		return fmt.Errorf("w on sequence 0 has STREAM alone")
	case p.seq == 0 && fromOwn:
		a = &b.in
	case p.seq == 0:
		a = &b.out
	case c == nil:
		return nil
	case fromOwn:
		a = &c.in
	default:
		a = &c.out
	}
	if a.granted += int(n); a.granted > a.taken && !fromOwn {
		return fmt.Errorf("%d were granted of an account of which %d were taken", a.granted, a.taken)
	}
	return nil
}
