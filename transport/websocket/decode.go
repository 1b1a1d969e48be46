package websocket

import "fmt"

// event is what decoder.next has come to the end of.
type event int

const (
	nothing    event = iota // only to the end of the bytes
	begun                   // the header of a message's first frame
	ended                   // a message
	controlled              // a control frame
)

// decoder takes frames apart, however they are cut. It does no I/O.
type decoder struct {
	masked    bool   // frames must be masked: a client's are, a server's aren't
	limit     uint64 // bytes of a binary message
	textLimit uint64 // bytes of a text message

	head [maxHead]byte
	got  int // bytes of head that are there

	frame head   // the frame whose payload comes; valid if within
	left  uint64 // bytes of its payload that are to come
	pos   int    // where in the mask the next one is
	in    bool   // the header of frame is there, and left bytes of its payload are not

	kind byte   // opText or opBinary while a message isn't over, else 0
	size uint64 // bytes of that message's frames so far

	control []byte // the payload of the control frame that comes or has come
}

// next takes bytes off b, up to an event or the end of b. payload is of a message, unmasked in place, and rest
// what wasn't looked at. An error, a *CloseError, is the last thing that is returned.
func (d *decoder) next(b []byte) (payload, rest []byte, ev event, err error) {
	if !d.in {
		b, ev, err = d.begin(b)
		if err != nil || !d.in || ev == begun {
			return nil, b, ev, err
		}
	}
	n := int(min(d.left, uint64(len(b))))
	payload, rest = b[:n:n], b[n:]
	if d.frame.masked {
		xor(payload, d.frame.mask, d.pos)
		d.pos = (d.pos + n) & 3
	}
	d.left -= uint64(n)
	isControl := d.frame.op&opClose != 0
	if isControl {
		d.control = append(d.control, payload...)
		payload = nil
	}
	if d.left > 0 {
		return payload, rest, nothing, nil
	}
	d.in = false
	switch {
	case isControl:
		return nil, rest, controlled, nil
	case d.frame.final:
		d.kind, d.size = 0, 0
		return payload, rest, ended, nil
	}
	return payload, rest, nothing, nil
}

// begin takes a header, or what there is of it, off b.
func (d *decoder) begin(b []byte) (rest []byte, ev event, err error) {
	for {
		n := copy(d.head[d.got:headLen(d.head[:d.got])], b)
		d.got += n
		b = b[n:]
		if d.got == headLen(d.head[:d.got]) {
			break
		}
		if len(b) == 0 {
			return b, nothing, nil
		}
	}
	d.frame, err = parseHead(d.head[:d.got])
	if err != nil {
		return b, nothing, err
	}
	d.got, d.pos, d.left, d.in = 0, 0, d.frame.size, true
	if d.frame.masked != d.masked {
		return b, nothing, broken("a client's frames have to be masked, and a server's must not be")
	}
	if d.frame.op&opClose != 0 {
		d.control = d.control[:0]
		return b, nothing, nil
	}
	return b, d.opens(), d.joins()
}

// opens tells whether the frame is a message's first.
func (d *decoder) opens() event {
	if d.frame.op == opContinuation {
		return nothing
	}
	return begun
}

// joins holds the frame, which is a message's, to what came before.
func (d *decoder) joins() error {
	switch first := d.frame.op != opContinuation; {
	case first && d.kind != 0:
		return broken("a message begins within another")
	case !first && d.kind == 0:
		return broken("a frame goes on with a message, and there is none")
	case first:
		d.kind = d.frame.op
	}
	limit := d.limit
	if d.kind == opText {
		limit = d.textLimit
	}
	if d.frame.size > limit-min(d.size, limit) {
		return &CloseError{Code: CloseTooLong, Reason: fmt.Sprintf(
			"a message has %d bytes or more, and at most %d are accepted", d.frame.size+d.size, limit), local: true}
	}
	d.size += d.frame.size
	return nil
}

// waits reports whether next can do something only with more bytes.
func (d *decoder) waits() bool { return !d.in || d.left > 0 }

// amid reports whether what has come ends within a frame or a message.
func (d *decoder) amid() bool { return d.in || d.got > 0 || d.kind != 0 }
