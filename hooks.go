package flyrpc

import "errors"

// hooked shows the packet to OnRawPacket and OnPacket and reports whether one of them
// has taken it over. A panic in them closes the connection.
func (c *Conn) hooked(p *received) (taken bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.logPanic("OnPacket", r)
			err = errors.New("flyrpc: OnPacket or OnRawPacket panicked")
		}
	}()
	if raw := c.onRaw.Load(); raw != nil {
		if pkt := p.packet(); pkt != nil && (*raw)(pkt) {
			return true, nil
		}
	}
	cooked := c.onPacket.Load()
	if cooked == nil || p.flag&FlagZipCode != 0 && c.inflateCode(p) != nil {
		return false, nil // what can't be inflated is answered
	}
	pkt := p.packet()
	if pkt == nil {
		return false, nil
	}
	pkt.Flag &^= zipBits
	pkt.Code = string(p.code)
	if pkt.Payload, _, err = c.inflate(p.flag, pkt.Payload); err != nil {
		return false, nil
	}
	return (*cooked)(pkt), nil
}

// packet returns a copy of a packet as it came, or nil if it is malformed.
func (p *received) packet() *Packet {
	meta, payload, err := splitMeta(p.flag, append([]byte(nil), p.payload...))
	if err != nil {
		return nil
	}
	code := p.code
	if p.wireCode != nil {
		code = p.wireCode
	}
	return &Packet{Flag: p.flag, Sequence: p.seq, Code: string(code), Meta: meta, Payload: payload}
}

// hasHooks reports whether OnRawPacket or OnPacket is set.
func (c *Conn) hasHooks() bool { return c.onRaw.Load() != nil || c.onPacket.Load() != nil }

// tookOver accounts for a packet that OnPacket or OnRawPacket has taken over.
func (c *Conn) tookOver(p *received, m *mode) error {
	c.noteWork()
	if m.v1 || p.flag&(FlagStream|FlagResponse) != 0 {
		return nil
	}
	c.dropHalf(p.seq)
	if p.flag&FlagWait != 0 || isReserved(p.code) {
		return nil
	}
	return c.dropLong(p)
}
