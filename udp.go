package flyrpc

import (
	"hash/maphash"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// Over UDP, and other transports of packets, a packet may get lost, come twice and overtake others. A datagramConn makes of such a
// connection what a Protocol can read and write: it sends requests again until they are answered, drops what comes twice, and
// keeps answers for those who ask again. What it decides by is arithmetic, in udp_repeat.go and udp_known.go.

// The codes of a datagramConn's own packets, which have STREAM, and RESPONSE if they come from the callee.
const (
	// askCode asks what has become of a call, and says, from the callee, that its handler runs.
	askCode = "?"
	// doneCode says that this side is about to close: it waits only for the other one to close too.
	doneCode = "."
)

const (
	// datagramCalls is the most calls at the same time of the other end over datagrams: so many fit a socket's buffer.
	datagramCalls = 256
	// datagramHeader is what a successful response takes of a packet, beside its payload.
	datagramHeader = 3 + 1 + 2
	// datagramErrorHeader is what an error that refuses takes of a packet, beside its code and message.
	datagramErrorHeader = 16
	// maxDatagramCode is the longest code, in bytes, of an error response over datagrams.
	maxDatagramCode = 256
)

// refusedCall says why a request isn't served.
const refusedCall = "more calls run, or more answers are kept, than this end takes on one connection, or the sequence was used within 30 s"

// datagramConn is the connection of a transport of packets as a Protocol uses it. Each Write is one packet.
type datagramConn struct {
	net.Conn
	max     int // bytes of a packet
	silence time.Duration
	born    time.Time
	seed    maphash.Seed

	bye atomic.Pointer[[]byte] // the bye of this side, once it was said

	mu    sync.Mutex
	sent  repeats // requests of this side
	known known   // those of the other end, and its messages
	timer *time.Timer
	due   time.Duration // when the timer comes; 0: it doesn't
	done  bool          // the other end waits for this one to close
	over  bool          // closed
	cause error         // why Reads end, if not for the transport
}

// newDatagramConn returns the datagramConn of a connection of packets.
func newDatagramConn(nc transport.PacketConn, l *limits) *datagramConn {
	c := &datagramConn{Conn: nc, max: min(nc.MaxPacket(), largeBody), silence: l.keepaliveInterval, born: time.Now(), seed: maphash.MakeSeed()}
	c.known.maxRunning = min(l.maxCalls, datagramCalls) + maxPings
	c.known.maxBytes, c.known.maxAnswer = maxKnown, c.max
	return c
}

// age returns for how long there is the connection.
func (c *datagramConn) age() time.Duration { return time.Since(c.born) }

// Read takes the next packet that is for the Conn.
func (c *datagramConn) Read(b []byte) (int, error) {
	for {
		if c.finished() {
			return 0, io.EOF
		}
		n, err := c.Conn.Read(b)
		if err != nil {
			return 0, c.readError(err)
		}
		reply, mine := c.take(b[:n])
		if reply != nil {
			_, _ = c.Conn.Write(reply) // if it can't be written it is lost
		}
		if mine {
			return n, nil
		}
	}
}

// readError returns why Reads end.
func (c *datagramConn) readError(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return err
}

// take looks at a packet that has come. It returns what is to be sent for it, and whether it is for the Conn.
func (c *datagramConn) take(b []byte) (reply []byte, mine bool) {
	h, n, err := parseHeader(b)
	if err != nil || uint64(len(b)-n) != h.length {
		return nil, false // not a packet, or not a whole one
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.age()
	c.sent.heard = now
	switch {
	case h.flag&FlagStream != 0:
		return c.takeStream(now, &h), false
	case h.flag&FlagResponse != 0:
		return nil, c.sent.answered(now, h.seq)
	case c.sent.open[helloSequence] != nil: // overtook the answer to hello
		return nil, false
	case h.flag&FlagWait == 0:
		mine = h.seq == 0 && isReserved(h.code) || c.known.message(now, h.seq)
		c.setTimer(now)
		return nil, mine
	}
	switch state, answer := c.known.request(now, h.seq, maphash.Bytes(c.seed, b)); state {
	case isNew:
		return nil, true
	case isRunning:
		return appendHeader(nil, FlagStream|FlagResponse, h.seq, askCode, nil, 0), false
	case isAnswered:
		return answer, false
	default:
		c.setTimer(now)
		return refusalOf(h.seq, Busy, refusedCall), false
	}
}

// takeStream takes a packet with STREAM, of which the codes above are all that there may be, and returns what is to be sent for it.
func (c *datagramConn) takeStream(now time.Duration, h *header) []byte {
	response := h.flag&FlagResponse != 0
	switch code := string(h.code); {
	case h.flag&(FlagWait|FlagResponse) == FlagWait:
		return refusalOf(h.seq, BadRequest, "no streams and no messages in pieces over UDP: a call or message is one datagram")
	case code == askCode && response:
		c.sent.running(now, h.seq)
	case code == askCode:
		switch state, answer := c.known.ask(now, h.seq); state {
		case isAnswered:
			return answer
		case isRunning:
			return appendHeader(nil, FlagStream|FlagResponse, h.seq, askCode, nil, 0)
		case isRefused:
			return refusalOf(h.seq, Busy, refusedCall)
		default:
			return errorPacket(h.seq, Unavailable, nil, "nothing is known of the call: it never came, or its answer was kept for 30 s and is gone")
		}
	case code == doneCode && !response:
		c.isDone()
	}
	return nil
}

// refusalOf returns the response to a request that isn't served.
func refusalOf(seq uint16, code Code, message string) []byte {
	return errorPacket(seq, code, AppendMeta(nil, MetaNotProcessed, "", ""), message)
}

// errorPacket returns an error response.
func errorPacket(seq uint16, code Code, meta []byte, message string) []byte {
	return append(appendHeader(nil, FlagResponse, seq, string(code), meta, len(message)), message...)
}

// TryWrite is Write: a datagram waits for nobody but the system.
func (c *datagramConn) TryWrite(b []byte) (int, error) { return c.Write(b) }

// Write sends a packet. A request is sent again until it is answered, and a response whenever its request comes again.
func (c *datagramConn) Write(b []byte) (int, error) {
	h, _, err := parseHeader(b)
	if err == nil && len(b) > c.max {
		err = localErr(TooLong, NotSent, nil, "a packet of %d bytes, a datagram takes %d", len(b), c.max)
	}
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	now := c.age()
	switch {
	case h.flag&FlagStream != 0:
	case h.flag&FlagResponse != 0:
		c.known.answered(now, h.seq, b)
		c.setTimer(now)
	case h.flag&FlagWait != 0 && h.seq != 0 && !c.over: // no answer has sequence 0
		c.sent.add(now, h.seq, append([]byte(nil), b...))
		c.setTimer(now)
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// setTimer has repeat called when the next packet is due, or something is to be forgotten. It is called with the lock held.
func (c *datagramConn) setTimer(now time.Duration) {
	next := c.sent.next
	if at := c.known.next(); next == 0 || at > 0 && at < next {
		next = at
	}
	if next == 0 || c.over || c.due > 0 && c.due <= next {
		return
	}
	next = max(next, now+1)
	c.due = next
	if c.timer == nil {
		c.timer = time.AfterFunc(next-now, c.repeat)
		return
	}
	c.timer.Reset(next - now)
}

// repeat sends what is due again.
func (c *datagramConn) repeat() {
	c.mu.Lock()
	if c.over || c.due == 0 {
		c.mu.Unlock()
		return
	}
	now := c.age()
	if now-c.due > stalled { // nobody could have read what has come
		c.sent.heard = now
	}
	c.due = 0
	c.known.expire(now)
	packets, dead := c.sent.look(now, c.silence)
	if !dead {
		c.setTimer(now)
	}
	c.mu.Unlock()
	for _, b := range packets {
		if _, err := c.Conn.Write(b); err != nil {
			break // the reader finds out too
		}
	}
	if dead {
		c.end(localErr(Unavailable, Unknown, nil, "the other end is dead: nothing has come for %v, though it was asked again and again", c.silence))
	}
}

// repeatBye says bye once more, over datagrams, as a message: who is refused because of it should know of it, and try elsewhere.
func (c *Conn) repeatBye() {
	if c.datagram == nil {
		return
	}
	if bye := c.datagram.bye.Load(); bye != nil {
		_ = c.proto.out.putOwn(&frame{code: byePath, body: *bye}) // the refusal behind it fails too
	}
}

// fitError cuts an error to what one packet takes, over datagrams.
func (c *Conn) fitError(w *wireError) {
	if c.datagram == nil {
		return
	}
	if len(w.code) > maxDatagramCode {
		w.code, w.message = Failed, string(w.code)+": "+w.message
	}
	if most := c.datagram.max - len(w.code) - datagramErrorHeader; len(w.message) > most {
		w.message = strings.ToValidUTF8(w.message[:max(0, most)], "")
	}
}

// forget says that nobody waits for the answer to a request any more.
func (c *datagramConn) forget(seq uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.drop(seq)
}

// end has Reads end with a cause.
func (c *datagramConn) end(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	c.Close()
}

// isDone notes that the other end waits for this one to close, which it does when it waits for no answers any more, or
// after lingerFor. It is called with the lock held.
func (c *datagramConn) isDone() {
	if c.done || c.over {
		return
	}
	c.done = true
	if c.sent.waiting() == 0 {
		return
	}
	now := c.age()
	c.sent.hurry(now)
	c.setTimer(now)
	time.AfterFunc(lingerFor, func() { c.end(io.EOF) })
}

// finished reports whether the connection has come to its end in order.
func (c *datagramConn) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done && c.sent.waiting() == 0
}

// CloseWrite tells the other end that nothing new is sent, again and again until it closes. Answers are still given to
// who asks again.
func (c *datagramConn) CloseWrite() error {
	b := appendHeader(nil, FlagStream, 0, doneCode, nil, 0)
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return net.ErrClosed
	}
	now := c.age()
	c.sent.add(now, 0, b)
	c.setTimer(now)
	c.mu.Unlock()
	_, err := c.Conn.Write(b)
	return err
}

// Close closes the connection.
func (c *datagramConn) Close() error {
	c.mu.Lock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	return c.Conn.Close()
}
