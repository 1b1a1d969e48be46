package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// zipBits are the flags of what is compressed.
const zipBits = FlagZipCode | FlagZipPayload

// read handles packets, one after the other, until the connection ends or is parked, which it
// reports, or another goroutine reads on.
func (c *Conn) read() (parked bool) {
	c.loneAnswers = 0
	if c.loneRequests > 0 {
		c.loneRequests = -soloPause
	}
	mine, cause := true, errReaderEnded
	defer func() {
		if mine && (cause != errForeign || !c.handOver()) {
			c.endReading(cause)
		}
	}()
	for mine {
		if err := c.readPacket(); err == errPark {
			mine = false
			c.park()
			return true
		} else if err != nil {
			cause = c.textual(err)
			return false
		}
		switch in := c.alone; {
		case in != nil:
			c.alone, mine = nil, false
			mine = c.solo(in)
		case c.loneAnswers >= loneAfter:
			mine = !c.leaveToCallers()
		}
	}
	return false
}

// readPacket reads and handles one packet. An error closes the connection.
func (c *Conn) readPacket() error {
	var p received
	var err error
	if h := c.handed; h != nil {
		c.handed = nil
		p, err = h.p, h.err
	} else {
		p, err = c.proto.in.next()
	}
	long := errors.Is(err, ErrLongPayload)
	if err != nil && !long {
		return err
	}
	if err := c.readCode(&p); err != nil {
		return err
	}
	if long {
		return c.long(&p, err)
	}
	c.batch++
	if p.flag&FlagResponse == 0 {
		c.loneAnswers = 0
	}
	return c.handle(&p)
}

// errReaderEnded is why a connection ends whose reader ends before it.
var errReaderEnded = errors.New("flyrpc: an inline handler ended the connection's goroutine")

// endReading closes a connection that can't be read any more. Nobody has the turn after it.
func (c *Conn) endReading(cause error) {
	if c.silent != nil {
		c.silent.Stop()
	}
	if c.fresh && errors.Is(cause, os.ErrDeadlineExceeded) {
		cause = fmt.Errorf("flyrpc: the first packet was not complete within %v: %w", c.ep.limits.helloTimeout, cause)
	}
	c.close(cause)
	c.tellEnd()
	c.proto.in.release()
	c.ep.parking.forget(c)
	close(c.ended)
	if c.srv != nil {
		c.srv.ending(c)
	}
}

// maxSkip is how many times the limit a payload may be to be skipped; a longer one
// closes the connection.
const maxSkip = 16

// long takes a packet whose payload is over the reader's limit. Before the first packet
// that is hello's, which others don't have.
func (c *Conn) long(p *received, cause error) error {
	if !c.fresh || isHello(p) {
		return c.refuseLong(p, cause)
	}
	if _, err := c.first(p); err != nil {
		return err
	}
	return c.begin(func() (err error) {
		if p.length > c.proto.in.max {
			return c.refuseLong(p, cause)
		}
		if p.payload, err = c.proto.in.large(int(p.length)); err != nil {
			return err
		}
		return c.dispatch(p)
	})
}

// refuseLong answers a packet that is over the limit and skips its payload.
func (c *Conn) refuseLong(p *received, cause error) error {
	if c.fresh && isHello(p) {
		c.refuseHello(p, Errorf(TooLong, "hello has %d bytes, at most %d are accepted", p.length, c.proto.in.max))
	}
	if c.fresh || p.length > maxSkip*c.proto.in.max {
		return cause
	}
	switch {
	case p.flag&FlagResponse != 0 && p.flag&FlagStream == 0:
		if s, _ := c.calls.claim(p.seq); s != nil {
			s.dropPart()
			s.answer = answer{err: localErr(TooLong, Answered, cause, "the answer has %d bytes, at most %d are accepted", p.length, c.proto.in.max)}
			s.deliver()
		}
	case p.flag&(FlagWait|FlagResponse) == FlagWait && (p.flag&FlagStream == 0 || string(p.code) != pieceCode):
		c.dropHalf(p.seq)
		msg := fmt.Sprintf("the packet has %d bytes of payload, at most %d are accepted", p.length, c.proto.in.max)
		if err := c.reject(p.seq, TooLong, msg); err != nil {
			return err
		}
	case p.flag&FlagStream != 0:
		return cause
	default:
		if err := c.dropLong(p); err != nil {
			return err
		}
		c.logDropped(cause.Error(), string(p.code))
	}
	return c.proto.in.skip(p.length)
}

// handle takes one packet. An error closes the connection.
func (c *Conn) handle(p *received) error {
	if c.eager {
		c.eager = false
		return c.begin(func() error { return c.dispatch(p) })
	}
	if c.fresh {
		hello, err := c.first(p)
		if hello || err != nil {
			return err
		}
		return c.begin(func() error { return c.dispatch(p) })
	}
	return c.dispatch(p)
}

// dispatch takes one packet of a connection whose handshake is done.
func (c *Conn) dispatch(p *received) error {
	m := c.mode.Load()
	if m.v1 && p.flag&(FlagStream|FlagMeta|zipBits) != 0 {
		return fmt.Errorf("flyrpc: a version 1 packet with flags %#x, which version 1 doesn't have", uint8(p.flag))
	}
	if m.whole && p.flag&FlagStream != 0 {
		return fmt.Errorf("flyrpc: a packet of a stream, flags %#x, of %s, which has none", uint8(p.flag), m.who())
	}
	if c.hasHooks() {
		if taken, err := c.hooked(p); taken || err != nil {
			if taken {
				err = c.tookOver(p, m)
			}
			return err
		}
	}
	if p.flag&FlagZipCode != 0 && p.wireCode == nil {
		if err := c.inflateCode(p); err != nil {
			return c.badCode(p, err)
		}
	}
	switch {
	case p.flag&FlagStream != 0:
		return c.streamFrame(p, m)
	case p.flag&FlagResponse != 0:
		c.response(p)
		return nil
	default:
		return c.request(p, m)
	}
}

// response hands a response to the call that waits for it.
func (c *Conn) response(p *received) {
	s, others := c.calls.claim(p.seq)
	c.answeredAlone(p, others)
	if s == nil {
		return
	}
	if st := s.stream; st != nil {
		if len(p.code) > 0 {
			s.dropPart()
		} else if st.finishPart(p) {
			s.answer = answer{err: localErr(TooLong, Answered, nil, "the answer has more than %d bytes", c.ep.limits.maxMessage)}
			s.deliver()
			return
		}
	}
	a := answer{flag: p.flag, payload: p.payload, shared: p.shared, whole: p.whole}
	if len(p.code) > 0 {
		a.code = string(p.code)
	}
	if p.shared {
		s.buf = append(s.buf[:0], p.payload...)
		a.payload = s.buf
	}
	s.answer = a
	c.woken = true
	s.deliver()
}

// reject answers a request without a handler, from the reader.
func (c *Conn) reject(seq uint16, code Code, message string) error {
	c.noteWork()
	f := frame{flag: FlagResponse, seq: seq, code: string(code), body: []byte(message)}
	if m := c.mode.Load(); m != nil && !m.v1 {
		if !c.in.isFree(seq) {
			return c.tooManyCalls(seq)
		}
		f.meta = AppendMeta(nil, MetaNotProcessed, "", "")
		m.fitMessage(&f)
	}
	return c.proto.out.putOwn(&f)
}

// rejectDraining answers a request that comes when no more are served.
func (c *Conn) rejectDraining(seq uint16) error {
	c.repeatBye()
	if w := c.refused.Load(); w != nil {
		return c.reject(seq, w.code, w.message)
	}
	return c.reject(seq, Unavailable, "the other end is shutting down")
}

// request routes a request or message and sees to it that it is handled.
func (c *Conn) request(p *received, m *mode) error {
	wait := p.flag&FlagWait != 0
	if wait && p.seq == 0 && !m.v1 {
		return errors.New("flyrpc: a request with sequence 0, which is for messages")
	}
	half, long := c.completeHalf(p)
	if isReserved(p.code) {
		p.payload = p.bytes(&c.ep.bufs)
		if long && wait {
			return c.reject(p.seq, TooLong, fmt.Sprintf("the message has more than %d bytes", c.ep.limits.maxMessage))
		}
		return c.reserved(p)
	}
	cost := 0
	if !wait && !m.whole {
		cost = flow.Cost(int(p.length))
		if err := c.in.charge(cost); err != nil {
			return err
		}
	}
	if wait && c.draining.Load() {
		return c.rejectDraining(p.seq)
	}
	rt, params, path := c.routeOf(p)
	if rt == nil {
		c.returnMessage(cost, false)
		return c.unknown(p, wait)
	}
	in := &incoming{
		conn: c, route: rt, path: path, params: params,
		flag: p.flag, seq: p.seq, strict: wait && !m.foreign, cost: int32(cost), long: long,
		payload: p.payload, shared: p.shared, whole: p.whole, at: c.proto.in.now.Sub(c.proto.in.born),
	}
	in.context.in = in
	if p.flag&FlagStream != 0 {
		in.openItems(half)
	}
	return c.admit(in)
}

// routeOf returns the route of a packet, or nil if there is none, with its params and its path.
func (c *Conn) routeOf(p *received) (rt *route, params []string, path string) {
	if p.learned != nil {
		rt, params, path = p.learned.find(c.ep.router)
	} else {
		rt, params, path = c.ep.router.find(p.code)
	}
	if rt == nil {
		if rt = c.ep.router.notFound(); rt != nil {
			path = string(p.code)
		}
	}
	return rt, params, path
}

// unknown answers a request that no route takes.
func (c *Conn) unknown(p *received, wait bool) error {
	if wait {
		return c.reject(p.seq, NotFound, fmt.Sprintf("no handler for %q", p.code))
	}
	c.ep.log.Debug("flyrpc: message dropped: no handler", "conn", c.id, "path", string(p.code))
	return nil
}

// admit has in handled, now or when there is room.
func (c *Conn) admit(in *incoming) error {
	for {
		switch c.in.add(in) {
		case admitRun:
			c.run(in, true)
			return nil
		case admitHeld:
			return nil
		case admitConflict:
			return c.tooManyCalls(in.seq)
		case admitRefuse:
			if err := c.Err(); err != nil {
				return err
			}
			return c.overflow(in)
		case admitWait:
			c.awaitRoom()
		}
	}
}

// overflow refuses a packet of a peer without credit that there is no room for.
func (c *Conn) overflow(in *incoming) error {
	if in.flag&FlagWait != 0 {
		return c.reject(in.seq, Busy, fmt.Sprintf("%d packets are being handled and as many wait", c.ep.limits.maxCalls))
	}
	c.logDropped("too many are being handled", in.path)
	return nil
}

// logDropped says that a message is dropped: the first of a connection at Warn, so that a
// peer can't fill the log, the others at Debug.
func (c *Conn) logDropped(why, path string) {
	level := slog.LevelWarn
	if c.dropped {
		level = slog.LevelDebug
	}
	c.dropped = true
	c.ep.log.Log(context.Background(), level, "flyrpc: message dropped: "+why, "conn", c.id, "path", path)
}

// awaitRoom stops reading until a handler has ended or a call to the other end,
// whose answer has to be read, is open.
func (c *Conn) awaitRoom() {
	c.proto.out.kick()
	if c.calls.awaits() {
		return
	}
	select {
	case <-c.in.room:
	case <-c.done:
	}
}

// run starts in's handler. fromReader tells that the caller is the reader, on which
// inline handlers run.
func (c *Conn) run(in *incoming, fromReader bool) {
	switch {
	case fromReader && in.route.opts.inline() && c.mayInline(in.route):
		in.inline = true
		c.answers = in.process(c.answers[:0])
		if cap(c.answers) > maxKeptBody {
			c.answers = nil
		}
	case in.route.opts.ordered():
		c.in.enqueue(in)
	case fromReader && !in.route.streams && c.askedAlone():
		c.alone = in
	default:
		var data []byte
		if in.shared {
			data = in.payload
		}
		c.ep.workers.Go(in, data)
	}
}

// mayInline reports whether an inline handler can run on the reader: its packets don't
// queue already, and its answer doesn't add to too many bytes that wait to be written.
func (c *Conn) mayInline(rt *route) bool { return !c.in.queueing(rt) && !c.proto.out.full() }
