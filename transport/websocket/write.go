package websocket

import (
	"crypto/rand"
	"errors"
	"net"
	"syscall"
)

const (
	// maxMessage is the most bytes of a message that Write begins without StartMessage.
	maxMessage = 64 << 10
	// maxCopy is the most bytes that are copied to be masked, or to leave together with a header.
	maxCopy = 32 << 10
)

// encoder is what has to be known of the message that is being sent. The Conn's writeMu guards it.
type encoder struct {
	due     []byte  // bytes that go before any payload: of control frames, and of a header
	owed    int     // bytes of payload that the frame that was begun still lacks
	mask    [4]byte // of that frame
	pos     int     // where in the mask the next byte is
	scratch []byte
	closed  bool  // the close frame was begun
	err     error // nothing can be written any more
}

// sender hands bytes to the connection below and returns how many it took.
type sender func([]byte) (int, error)

// Write sends b as a message, or as several of 64 KiB at most, or as a part of the message that StartMessage has begun. With
// an error, the first n bytes were taken: see SetWriteDeadline.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.writeMu.Lock()
	defer c.unlockWrite()
	return c.write(b, opBinary)
}

// WriteText sends b, which has to be UTF-8, as a text message.
func (c *Conn) WriteText(b []byte) error {
	c.writeMu.Lock()
	defer c.unlockWrite()
	if err := c.writable(); err != nil {
		return err
	}
	if c.out.owed > 0 {
		return c.fail("write", errHalfSent)
	}
	if len(b) == 0 {
		c.begin(opText, 0)
	}
	c.planned.Store(int64(len(b)))
	_, err := c.write(b, opText)
	if err != nil && c.out.err == nil {
		c.out.err = err
	}
	return err
}

// StartMessage has the next n bytes that are written become one message, in as many calls of Write and TryWrite as
// it takes. It does nothing if n is 0 or less. The caller serializes it with these calls, and doesn't call it again before they have taken all of
// the message.
func (c *Conn) StartMessage(n int) { c.planned.Store(int64(max(n, 0))) }

// unlockWrite ends what begins with writeMu.Lock. A ping that came meanwhile is answered now.
func (c *Conn) unlockWrite() {
	between := c.out.owed == 0
	c.writeMu.Unlock()
	if between && c.pinged.Load() != nil {
		c.answerPing()
	}
}

// writable says why nothing can be written.
func (c *Conn) writable() error {
	switch {
	case c.isClosed.Load():
		return c.fail("write", net.ErrClosed)
	case c.out.err != nil:
		return c.out.err
	case c.out.closed:
		return c.fail("write", syscall.EPIPE)
	}
	return nil
}

// write writes all of b, and what is due. It is called with writeMu held.
func (c *Conn) write(b []byte, op byte) (n int, err error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	for n < len(b) || len(c.out.due) > 0 {
		k, _, err := c.step(b[n:], op, c.nc.Write)
		n += k
		if err != nil {
			return n, c.writeFailed(err)
		}
	}
	return n, nil
}

// writeFailed returns the error of a write that the connection below has failed with.
func (c *Conn) writeFailed(err error) error {
	if c.isClosed.Load() && !errors.Is(err, net.ErrClosed) {
		return c.fail("write", net.ErrClosed)
	}
	return err
}

// step hands as much of b to send as it takes at a time, beginning a frame if none is half sent, and returns how many
// bytes of b were taken. all tells that send took all that it was given.
func (c *Conn) step(b []byte, op byte, send sender) (n int, all bool, err error) {
	o := &c.out
	before, fresh, planned := len(o.due), o.owed == 0 && len(b) > 0, int64(0)
	if fresh {
		planned = c.planned.Swap(0)
		size := int(planned)
		if size == 0 {
			size = min(len(b), maxMessage)
		}
		c.begin(op, size)
	}
	wire, part := c.wire(b[:min(len(b), o.owed)])
	taken, err := send(wire)
	if fresh && taken <= before { // nobody has seen the frame
		o.due, o.owed = o.due[:before], 0
		c.planned.Store(planned)
	}
	if taken < len(o.due) {
		o.due = append(o.due[:0], o.due[taken:]...)
		return 0, false, err
	}
	n = taken - len(o.due)
	o.due = o.due[:0]
	if o.owed -= n; o.owed > 0 {
		o.pos = (o.pos + n) & 3
	}
	return n, n == part && taken == len(wire), err
}

// begin begins a frame of size bytes.
func (c *Conn) begin(op byte, size int) {
	o := &c.out
	o.owed, o.pos = size, 0
	if c.client {
		_, _ = rand.Read(o.mask[:]) // it never fails
	}
	o.due = appendHead(o.due, op, size, c.client, o.mask)
}

// wire returns what is to be sent of what is due and of b, of which it takes the first n bytes.
func (c *Conn) wire(b []byte) (wire []byte, n int) {
	o := &c.out
	if len(o.due) == 0 && !c.client {
		return b, len(b)
	}
	b = b[:min(len(b), maxCopy)]
	o.scratch = append(append(o.scratch[:0], o.due...), b...)
	if c.client {
		xor(o.scratch[len(o.due):], o.mask, o.pos)
	}
	return o.scratch, len(b)
}

// control sends a control frame between messages. It is called with writeMu held.
func (c *Conn) control(op byte, payload []byte) error {
	o := &c.out
	var mask [4]byte
	if c.client {
		_, _ = rand.Read(mask[:])
	}
	o.due = appendHead(o.due, op, len(payload), c.client, mask)
	o.due = append(o.due, payload...)
	xor(o.due[len(o.due)-len(payload):], mask, 0)
	for len(o.due) > 0 {
		if _, _, err := c.step(nil, op, c.nc.Write); err != nil {
			return err
		}
	}
	return nil
}

// sendClose sends a close frame, unless one was sent or a message is half sent. It is called with writeMu held.
func (c *Conn) sendClose() error {
	if c.out.closed {
		return nil
	}
	if c.out.owed > 0 || c.out.err != nil {
		return c.fail("close", errHalfSent)
	}
	c.out.closed = true
	c.closeMu.Lock()
	e := c.closing
	c.closeMu.Unlock()
	return c.control(opClose, appendClose(nil, e.Code, e.Reason))
}

// errHalfSent is why there can be no close frame, and no text.
var errHalfSent = errors.New("websocket: a message is half sent, and nothing else can follow")

// pong has a ping answered. Of those that come before that, only the last one is.
func (c *Conn) pong(payload []byte) {
	b := append([]byte{}, payload...)
	c.pinged.Store(&b)
	c.answerPing()
}

// answerPing has a goroutine answer pings, so that reading never waits for writes. There is one at a time.
func (c *Conn) answerPing() {
	if c.answering.CompareAndSwap(false, true) {
		go c.answerPings()
	}
}

// answerPings answers the pings that have come. One that comes amid a message is left to who ends that.
func (c *Conn) answerPings() {
	for again := true; again; {
		c.writeMu.Lock()
		switch {
		case c.writable() != nil:
			c.pinged.Store(nil)
		case c.out.owed == 0:
			if payload := c.pinged.Swap(nil); payload != nil {
				_ = c.control(opPong, *payload)
			}
		}
		amid := c.out.owed > 0
		c.answering.Store(false)
		again = !amid && c.pinged.Load() != nil && c.answering.CompareAndSwap(false, true)
		c.writeMu.Unlock()
	}
}
