package service

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// idMark stands between the path of a durable message and its id, on the way to the link.
const idMark = "\x02"

// storing is a durable message on its way to the broker.
type storing struct {
	l   *link
	c   *call
	bus DurableBus
	m   Message
	id  string
}

// deadRoom is how many bytes of a message of the bus are left free, for the subject of dead letters may be longer than its own.
func deadRoom(payload int) int { return min(MaxSubject, payload/8) }

// store has a request published as a durable message. The broker's acknowledgement is its answer.
func (l *link) store(c *call, path string, raw []byte) {
	path, id, _ := strings.Cut(path, idMark)
	bus, ok := l.svc.bus.(DurableBus)
	p, err := wholePacket(raw)
	switch {
	case !ok:
		l.fail(c, flyrpc.BadRequest, fmt.Sprintf("SendDurable needs a bus that is a DurableBus, and %T isn't", l.svc.bus), true)
		return
	case err != nil || p.flag&flyrpc.FlagStream != 0:
		l.fail(c, flyrpc.BadRequest, "a durable message can't be an io.Reader, or a stream", true)
		return
	}
	c.subject = l.svc.opts.subject(l.target, SubjectOf(path))
	p.code = []byte(path)
	p.flag &^= flyrpc.FlagWait
	p.dropMeta(flyrpc.MetaTimeout) // it is handled when the caller has long gone
	h := header{kind: kindOpen, sender: l.id, call: c.id}
	data := h.append(nil, l.from, appendWhole(nil, &p))
	if most := l.svc.bus.MaxPayload(); len(data) > most-deadRoom(most) {
		l.fail(c, flyrpc.TooLong, fmt.Sprintf("a durable message has to fit one message of the bus, with room for the subject of dead letters: it has %d bytes, at most %d are possible",
			len(data), most-deadRoom(most)), true)
		return
	}
	go (&storing{l: l, c: c, bus: bus, m: Message{Subject: c.subject, Data: data}, id: id}).publish()
}

// publish publishes the message and answers the call. The caller's context may have ended it before.
func (s *storing) publish() {
	ctx, cancel := context.WithTimeout(context.Background(), s.l.svc.opts.RequestTimeout)
	defer cancel()
	_, err := s.bus.PublishDurable(ctx, &s.m, s.id)
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if err != nil {
		code := codeOf(err)
		s.l.fail(s.c, code, err.Error(), code == flyrpc.TooLong || code == flyrpc.BadRequest || code == flyrpc.Busy)
		return
	}
	if s.l.calls[s.c.id] != s.c {
		return
	}
	s.l.forget(s.c)
	b, _ := flyrpc.AppendPacket(nil, &flyrpc.Packet{Flag: flyrpc.FlagResponse, Sequence: s.c.seq})
	s.l.pipe.feed(b)
}

// dropMeta removes an entry of FlyRPC's own metadata from a packet, whose raw stays as it was.
func (p *packet) dropMeta(id flyrpc.MetaID) {
	p.keepMeta(func(e flyrpc.MetaEntry) bool { return e.ID != id })
}

// keepMeta removes all metadata but that which keep keeps from a packet, whose raw stays as it was. Metadata that can't be read is left to whoever handles it.
func (p *packet) keepMeta(keep func(flyrpc.MetaEntry) bool) {
	if p.flag&flyrpc.FlagMeta == 0 {
		return
	}
	n, w := binary.Uvarint(p.payload)
	if w <= 0 || n > uint64(len(p.payload)-w) {
		return
	}
	block, body := p.payload[w:w+int(n)], p.payload[w+int(n):]
	var kept []byte
	for e, err := range flyrpc.ParseMeta(block) {
		if err != nil {
			return
		}
		if keep(e) {
			kept = flyrpc.AppendMeta(kept, e.ID, string(e.Key), e.Value)
		}
	}
	payload := append(binary.AppendUvarint(nil, uint64(len(kept))), kept...)
	p.payload = append(payload, body...)
}
