package flyrpc

import (
	"context"
	"sync/atomic"
)

// SendRequest sends a request with a payload as it is and returns the response as it
// came, whatever its code. The error is for requests that have no response.
func (c *Conn) SendRequest(ctx context.Context, path string, payload []byte) (*Packet, error) {
	if payload == nil {
		payload = []byte{}
	}
	call := &Outgoing{Conn: c, Path: path, Message: payload}
	s, err := c.start(ctx, call)
	if err != nil {
		return nil, err
	}
	var p *Packet
	err = c.finishRaw(ctx, s, call, &p)
	return p, err
}

// finishRaw is finish for a response that is wanted as it came.
func (c *Conn) finishRaw(ctx context.Context, s *slot, call *Outgoing, p **Packet) error {
	seq := s.seq
	if c.turn.idle() {
		c.readFor(ctx, s)
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		if c.calls.abandon(s) {
			c.giveUp(s)
			return ctxErr(ctx, Unknown, call.Path)
		}
		<-s.ready
	}
	if s.stream != nil && s.stream.open {
		return c.collect(ctx, s, nil)
	}
	defer c.calls.release(s)
	a := &s.answer
	if a.err != nil {
		return c.take(ctx, s, nil)
	}
	var payload []byte
	if a.whole != nil {
		payload = a.whole.join(&c.ep.bufs)
	} else {
		payload = append(payload, a.payload...)
	}
	meta, data, err := splitMeta(a.flag, payload)
	if err == nil {
		data, _, err = c.inflate(a.flag, data)
	}
	if err != nil {
		return badAnswer(err)
	}
	*p = &Packet{Flag: a.flag &^ zipBits, Sequence: seq, Code: a.code, Meta: meta, Payload: data}
	return nil
}

// OnPacket lets f see every packet of the other end before FlyRPC does; FlyRPC
// ignores those for which f returns true. f runs on the connection's reader, so nothing
// else comes in until it returns; the packet is its own. nil removes it.
func (c *Conn) OnPacket(f func(*Packet) bool) { storeHook(&c.onPacket, f) }

// OnRawPacket is OnPacket for packets as they are on the wire, with code and payload still
// compressed.
func (c *Conn) OnRawPacket(f func(*Packet) bool) { storeHook(&c.onRaw, f) }

func storeHook(p *atomic.Pointer[func(*Packet) bool], f func(*Packet) bool) {
	if f == nil {
		p.Store(nil)
		return
	}
	p.Store(&f)
}

// SendPacket writes p. Its flag and sequence are the caller's business: they should
// not be those of calls that FlyRPC has open. So is credit: a version 2 peer closes the connection if more one-way messages are sent so than it has
// granted with MessageWindow.
// Code and payload are compressed as the options' Zip says.
func (c *Conn) SendPacket(p *Packet) error {
	m := c.settled()
	f, err := frameOf(p)
	if err != nil {
		return err
	}
	f.flag &^= zipBits
	c.ep.zip(&f, m)
	if err = m.fits(&f); err == nil {
		_, err = c.proto.out.put(context.Background(), &f, false)
	}
	c.ep.unborrow(&f)
	return err
}

// SendRawPacket writes p as it is, ZIP bits included: code and payload are what the wire
// carries. For credit see SendPacket.
func (c *Conn) SendRawPacket(p *Packet) error {
	f, err := frameOf(p)
	if err == nil {
		err = c.settled().fits(&f)
	}
	if err == nil {
		_, err = c.proto.out.put(context.Background(), &f, false)
	}
	return err
}

// SendResponse answers the request with a sequence that OnPacket has taken over.
func (c *Conn) SendResponse(sequence uint16, code Code, payload []byte) error {
	return c.SendPacket(&Packet{Flag: FlagResponse, Sequence: sequence, Code: string(code), Payload: payload})
}
