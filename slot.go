package flyrpc

import "time"

type slotState uint8

const (
	slotFree      slotState = iota
	slotOpen                // the caller waits
	slotAnswered            // the reader, or a failure, has an answer for the caller
	slotAbandoned           // the caller gave up; the answer is still to come
)

// slot is where one call waits for its answer. It is used again by later calls.
type slot struct {
	seq   uint16
	state slotState     // guarded by callTable.mu
	held  bool          // abandoned, and the other end is still to be told
	late  bool          // the answer came while held
	ready chan struct{} // capacity 1: the answer is there
	next  *slot         // in a list of free slots
	since time.Time     // when the caller gave up

	stream *Stream // items, and what is larger than a packet; nil while there is none
	pos    uint64  // where in the stream of packets the request begins
	half   bool    // only pieces of the request were sent
	isPing bool
	probe  bool // isPing, and nobody waits for it
	answer answer
	buf    []byte // for small answers
	enc    encBuf // for encoding the request
	meta   []byte
}

// answer is what came of a call.
type answer struct {
	flag    Flag
	code    string
	payload []byte
	whole   *pieces // the payload of what came in pieces, instead
	shared  bool    // payload is the slot's buffer
	lent    []byte  // the buffer that payload is in, if that goes back when it is decoded
	err     error   // instead of all that: the connection failed, or the answer is too long
}

// deliver hands the answer in a slot that claim returned to its caller.
func (s *slot) deliver() { s.answeredBy() <- struct{}{} }

// answeredBy returns the channel by which the caller is told of its answer.
func (s *slot) answeredBy() chan struct{} {
	if s.stream != nil && s.stream.open {
		return s.stream.final
	}
	return s.ready
}

// trim drops what a slot doesn't keep between calls.
func (s *slot) trim() {
	s.answer, s.half = answer{}, false
	if s.stream != nil {
		s.stream = nil
		select { // the first item, of which nobody was told in time
		case <-s.ready:
		default:
		}
	}
	if cap(s.enc.own) > maxKeptBody {
		s.enc.own = nil
	}
	if cap(s.buf) > maxKeptBody {
		s.buf = nil
	}
	if cap(s.meta) > maxKeptBody {
		s.meta = nil
	}
}
