package flyrpc

import "math"

// Where a transport carries messages, as a WebSocket does, each holds whole packets: as many as are ready, within
// maxWrite bytes, or a single one. A message may be written in several parts.

// messageConn is a connection on which packets travel in messages.
type messageConn interface {
	// StartMessage says that the next n bytes that are written are a message.
	StartMessage(n int)
	// SetReadLimit sets how many bytes a message that comes may have.
	SetReadLimit(n int)
}

// messageReserve is how many bytes a message may have beside the largest payload of a packet.
const messageReserve = 64 << 10

// accept sets how many bytes of payload a packet that comes may have. It is for the reader.
func (p *Protocol) accept(most uint64) {
	p.in.max = most
	if p.out.messages != nil {
		p.out.messages.SetReadLimit(int(min(most, math.MaxInt-messageReserve)) + messageReserve)
	}
}

// part returns how many of the next n bytes of the batch are to be written at a time at most. It begins a message if that is
// due.
func (w *writer) part(n int) int {
	if w.messages == nil {
		return n
	}
	if w.left <= 0 {
		w.left = w.nextMessage()
		w.messages.StartMessage(w.left)
	}
	return min(n, w.left)
}

// nextMessage returns how many bytes of the batch, which begins with a packet, the next message has.
func (w *writer) nextMessage() int {
	size, fits := 0, 0
	for _, s := range w.batch {
		end := len(s.b)
		if s.open {
			end = s.whole
		}
		if end > 0 {
			if fits > 0 && size+end > maxWrite {
				return fits
			}
			fits = size + end
		}
		if w.single {
			break
		}
		size += len(s.b)
	}
	return fits
}

// cut takes the first n bytes, which are written, off a segment.
func (s *segment) cut(n int) {
	s.b = s.b[n:]
	s.whole -= n
}
