package service

import (
	"bytes"
	"encoding/binary"

	"github.com/go-flyrpc/flyrpc"
)

// Source is an instance of a service that has sent a message or request. It is what the sender says of itself: who may say it is the
// bus's business. Both are empty if it says nothing, or if they and the serializer's name have more than 253 bytes. A packet whose own metadata leaves no
// room for it, of 64 entries or nearly 8 KiB, as flyrpc.WithMeta can't make one, is refused.
type Source struct {
	// Service is the service's name.
	Service string
	// Instance is the instance's ID.
	Instance string
}

// SourceOf returns who has sent what a handler handles. For what came by a connection, and not by a bus, it is the zero Source. It must
// not be called after the handler has returned.
func SourceOf(ctx *flyrpc.Context) Source {
	if !onBus(ctx) { // whose peer may send any entry
		return Source{}
	}
	service, instance, _ := bytes.Cut(ctx.MetaEntry(metaSource), []byte{0})
	instance, _, _ = bytes.Cut(instance, []byte{0})
	return Source{string(service), string(instance)}
}

// onBus reports whether what a handler handles came by a bus.
func onBus(ctx *flyrpc.Context) bool {
	_, ok := ctx.Conn().RemoteAddr().(busAddr)
	return ok
}

// Source returns who has sent it; for a durable message, at first.
func (m *Incoming) Source() Source { return SourceOf(m.ctx) }

// metaSource is the id of an entry that a lane adds to the packets it feeds, before all others, so that no sender's counts, nor takes it for
// a part of its own that is cut.
const metaSource flyrpc.MetaID = 1<<16 + 1

// from returns what stands before the packets of calls that this instance opens.
func (s *Service) from() from {
	return from{[]byte(s.opts.Serializer.Name()), []byte(s.name + "\x00" + s.id)}
}

// sourced is the payload of a packet with the sender in its metadata: a length, the metadata, and the body.
type sourced struct{ meta, entry, body []byte }

// sourced returns the payload with the sender. It reports false if the metadata is malformed: the packet then goes as it is, to whoever says so.
func (p *packet) sourced(buf, source []byte) (s sourced, ok bool) {
	s.body = p.payload
	if p.flag&flyrpc.FlagMeta != 0 {
		n, w := binary.Uvarint(s.body)
		if w <= 0 || n > uint64(len(s.body)-w) {
			return s, false
		}
		s.meta, s.body = s.body[w:w+int(n)], s.body[w+int(n):]
	}
	s.entry = flyrpc.AppendMeta(buf, metaSource, "", source)
	return s, true
}

// metaLen returns the length of the metadata.
func (s *sourced) metaLen() int { return len(s.meta) + len(s.entry) }

// size returns the length of the payload.
func (s *sourced) size() int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(s.metaLen())) + s.metaLen() + len(s.body)
}

// entryRoom is room for an entry with a source.
const entryRoom = maxFrom + 10

// sizeFrom returns the length of the payload with the sender.
func (p *packet) sizeFrom(source []byte) int {
	var buf [entryRoom]byte
	s, ok := p.sourced(buf[:0], source)
	if !ok {
		return len(p.payload)
	}
	return s.size()
}

// appendFrom appends the packet, with a sequence and with the sender.
func (p *packet) appendFrom(dst []byte, seq uint16, source []byte) []byte {
	var buf [entryRoom]byte
	s, ok := p.sourced(buf[:0], source)
	if !ok {
		return append(dst, p.withSequence(seq)...)
	}
	dst = append(dst, byte(p.flag|flyrpc.FlagMeta)|2, byte(seq>>8), byte(seq))
	dst = append(append(dst, p.code...), 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.size()))
	dst = binary.AppendUvarint(dst, uint64(s.metaLen()))
	return append(append(append(dst, s.entry...), s.meta...), s.body...)
}
