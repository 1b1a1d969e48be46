package flyrpc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"time"
)

// Call calls the handler of path at the other end with message and decodes its answer
// into reply, a pointer, or drops it if reply is nil: the call is then a message that is
// acknowledged. A nil message is nothing.
//
// A message that is an io.Reader is sent in raw items until it ends, to a handler that takes an io.Reader. A reply that
// points to an io.Reader or io.ReadCloser is set to a reader of the raw items, or of the raw reply, that the handler answers with:
// Call returns then when the first of them has come, and the call ends when the reader has returned an error, io.EOF in the end, when
// it is closed, as an io.ReadCloser can be, or when ctx ends. Meanwhile it is one of the calls that the other end takes. A
// reader that is sent is the caller's again when Call returns, which waits for a Read that is under way even if ctx has ended, unless the
// reply is a reader too.
//
// When ctx ends Call returns at once and the other end is told. If the other end takes no
// more calls, Call waits. An error is always an Error: with the code that came from
// the other end or that says what failed here; Outcome tells how far it had come.
func (c *Conn) Call(ctx context.Context, path string, message, reply any) error {
	call := Outgoing{Conn: c, Path: path, Message: message, Reply: reply}
	if c.ep.invoke != nil {
		escaped := call
		return c.ep.invoke(ctx, &escaped)
	}
	return c.roundTrip(ctx, &call)
}

// roundTrip sends a call and waits for its answer.
func (c *Conn) roundTrip(ctx context.Context, call *Outgoing) error {
	if call.readers() {
		return c.roundTripReaders(ctx, call)
	}
	s, err := c.start(ctx, call)
	if err != nil {
		return err
	}
	return c.finish(ctx, s, call)
}

// start sends a call and returns the slot its answer will come to. The slot is taken before the
// request is sent, so the answer can't come too early.
func (c *Conn) start(ctx context.Context, call *Outgoing) (*slot, error) {
	if ctx.Err() != nil {
		return nil, ctxErr(ctx, NotSent, call.Path)
	}
	m := c.settled()
	if m.http {
		return nil, errOneWay()
	}
	s, busy, err := c.calls.acquire(ctx)
	if err != nil {
		return nil, err
	}
	if c.in.stuck.Load() { // the reader has to go on, to read the answer
		c.in.nudge()
	}
	queued := false
	defer func() {
		if !queued { // also when the message's own methods panic
			c.calls.withdraw(s)
		}
	}()
	f := frame{flag: FlagWait, seq: s.seq, code: call.Path, path: true}
	if call.Streams {
		if call.stream, err = c.streamOf(ctx, s); err != nil {
			return nil, notSent(err)
		}
		if !call.receives {
			f.flag |= FlagStream
		}
	}
	if s.meta, _, err = c.compose(ctx, m, call, &f, &s.enc, s.meta[:0]); err != nil {
		return nil, notSent(err)
	}
	queued, err = c.sendRequest(ctx, m, s, call.stream, &f, busy)
	c.ep.unborrow(&f)
	if err != nil {
		return nil, err
	}
	if call.queued != nil {
		call.queued()
	}
	return s, nil
}

// sendRequest sends a request, in pieces if it is large; st is its stream, if it has one. If queued is true the slot
// isn't the caller's any more, unless there is no error.
func (c *Conn) sendRequest(ctx context.Context, m *mode, s *slot, st *Stream, f *frame, busy bool) (queued bool, err error) {
	if m.whole {
		if err := m.fits(f); err != nil {
			return false, err
		}
	} else if f.size() > min(m.maxFrame, maxPart) {
		if st == nil {
			st = newStream(c, s.seq, FlagStream)
			st.in.wants = true
			if err := c.calls.attach(s, st, false); err != nil {
				return false, notSent(err)
			}
		}
		err = st.sendParts(itemContext{ctx}, f, m.part, FlagStream|FlagWait)
	}
	if err == nil {
		s.pos, err = c.proto.out.put(ctx, f, busy)
	}
	switch {
	case err == nil:
		if st != nil {
			st.torn = false
		}
		return true, nil
	case err == io.EOF: // the answer has come already, or the connection is lost
		s.pos = math.MaxUint64 // the request was not sent to its end
		s.half = st != nil && st.torn
		return true, nil
	case st == nil || !st.torn:
		return false, notSent(err)
	}
	c.withdrawHalf(s)
	return true, notProcessed(err)
}

// withdrawHalf gives up a call or message of which only pieces were sent.
func (c *Conn) withdrawHalf(s *slot) {
	if c.calls.abandon(s) {
		c.giveUp(s)
		return
	}
	<-s.answeredBy()
	c.calls.release(s)
}

// notProcessed marks an error of a call of which only pieces were sent.
func notProcessed(err error) error {
	e := *notSent(err).(*Error)
	e.delivery = NotProcessed
	return &e
}

// notSent marks an error of a packet that was never queued.
func notSent(err error) error {
	e, ok := err.(*Error)
	if !ok {
		return localErr(Unavailable, NotSent, err, "%v", err)
	}
	if e.delivery == NotSent {
		return e
	}
	unsent := *e
	unsent.delivery = NotSent
	return &unsent
}

// compose encodes the message and the metadata of a call into f, in the buffers e and meta. It returns the latter, to be
// used again, and how many bytes the message has that isn't compressed.
func (c *Conn) compose(ctx context.Context, m *mode, call *Outgoing, f *frame, e *encBuf, meta []byte) (_ []byte, plain int, err error) {
	if err := checkCode(call.Path); err != nil {
		return meta, 0, localErr(BadRequest, NotSent, err, "%v", err)
	}
	if len(call.Path) > 0 && call.Path[0] == learnedMark {
		return meta, 0, localErr(BadRequest, NotSent, nil, "the path %.20q begins with byte 1, and no path begins so", call.Path)
	}
	raw, kind, kept := largeRaw(call.Message)
	if raw != nil {
		f.body, f.keep = raw, kept
	} else {
		var enc []byte
		defer func() { e.done(&c.ep.bufs, f, enc) }() // the message's own methods may panic
		enc, kind, err = encodeBody(e.take(&c.ep.bufs, rawLen(call.Message)), call.Message, m.ser, m.v1)
		if err != nil {
			return meta, 0, localErr(BadRequest, NotSent, err, "%v", err)
		}
		if m.json && kind == encodedBody && len(enc) > 0 && !json.Valid(enc) {
			return meta, 0, localErr(BadRequest, NotSent, nil, "%s is encoded as %.40q, which is no JSON", typeName(call.Message), enc)
		}
		f.body, f.keep = enc, true
	}
	if !m.v1 {
		if meta, err = requestMeta(ctx, meta, kind); err != nil {
			return meta, 0, err
		}
	}
	f.meta = meta
	if plain = len(f.body); plain > m.maxMessage {
		return meta, plain, localErr(TooLong, NotSent, nil, "the message has %d bytes, the other end accepts %d", plain, m.maxMessage)
	}
	c.ep.zip(f, m)
	return meta, plain, nil
}

// requestMeta appends the metadata of a call or message made with ctx.
func requestMeta(ctx context.Context, meta []byte, kind bodyKind) ([]byte, error) {
	meta = markKind(meta, kind)
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left <= 0 {
			return meta, localErr(Timeout, NotSent, context.DeadlineExceeded, "the deadline has passed")
		}
		var b [binary.MaxVarintLen64]byte
		n := binary.PutUvarint(b[:], uint64(left/time.Microsecond)+1)
		meta = AppendMeta(meta, MetaTimeout, "", b[:n])
	}
	v, ok := ctx.Value(outgoingKey).(*outgoingValues)
	if !ok {
		return meta, nil
	}
	if v.idempotent {
		meta = AppendMeta(meta, MetaIdempotent, "", "")
	}
	return append(meta, v.meta...), v.err
}

// finish waits for the answer of a call that start has sent.
func (c *Conn) finish(ctx context.Context, s *slot, call *Outgoing) error {
	if c.turn.idle() {
		c.readFor(ctx, s)
	}
	select {
	case <-s.ready: // readFor has read it
	default:
		if err := c.awaitAnswer(ctx, s, call.Path); err != nil {
			return err
		}
	}
	if s.stream != nil && s.stream.open {
		return c.collect(ctx, s, call.Reply)
	}
	defer c.calls.release(s) // the serializer may panic
	return c.take(ctx, s, call.Reply)
}

// awaitAnswer waits for the answer of a call, and gives the call up when ctx ends.
func (c *Conn) awaitAnswer(ctx context.Context, s *slot, path string) error {
	done := ctx.Done()
	if done == nil {
		<-s.ready
		return nil
	}
	select {
	case <-s.ready:
		return nil
	case <-done:
	}
	c.forgetKey(s)
	if c.calls.abandon(s) {
		c.giveUp(s)
		return ctxErr(ctx, Unknown, path)
	}
	<-s.ready
	return nil
}

// forgetKey has the transport's connection forget a call that is about to be given up, if it knows it by a key.
func (c *Conn) forgetKey(s *slot) {
	if t, ok := c.proto.conn.(*commandConn); ok {
		t.giveUp(s.seq)
	}
}

// giveUp tells a version 2 peer that nobody waits for an abandoned call any more.
func (c *Conn) giveUp(s *slot) {
	if c.settled().whole {
		c.unask(s)
		c.progress()
		return
	}
	_ = c.proto.out.putNow(&frame{flag: FlagStream, seq: s.seq, code: "c"})
	c.calls.letGo(s)
}

// take decodes the answer in s into reply, or returns what failed.
func (c *Conn) take(ctx context.Context, s *slot, reply any) error {
	b, err := c.answerOf(ctx, s)
	if err == nil && reply != nil {
		err = badItem(b.decode(reply))
	}
	c.ep.bufs.put(s.answer.lent)
	return err
}

// answerOf returns the body of the answer in s, or the error that it is.
func (c *Conn) answerOf(ctx context.Context, s *slot) (body, error) {
	a := &s.answer
	if a.err != nil {
		if e, ok := a.err.(*Error); ok && e.delivery == Unknown && !c.proto.out.sent(s.pos) {
			if s.half {
				return body{}, notProcessed(e)
			}
			return body{}, notSent(e)
		}
		return body{}, a.err
	}
	b, d, details, err := c.answerBody(ctx, a)
	if err != nil || a.code == "" {
		return b, err
	}
	code := Code(a.code)
	remote := d == Answered || d == NotProcessed
	e := &Error{Code: code, Message: string(b.data), remote: remote, delivery: d, cause: c.ep.errors.errorOf(code)}
	if len(details.data) > 0 {
		own := details // so that those without don't take its memory
		e.details = &own
		_ = details.decode(&e.Details) // DecodeDetails tells why it can't be read
	}
	return body{}, e
}

// answerBody divides an answer into its body and what its metadata says.
func (c *Conn) answerBody(ctx context.Context, a *answer) (b body, d Delivery, details body, err error) {
	m := c.mode.Load()
	d = Answered
	if a.whole != nil {
		a.payload = a.whole.joinFor(a.flag, &c.ep.bufs)
	}
	meta, data, err := splitMeta(a.flag, a.payload)
	if err != nil {
		return b, Answered, details, localErr(BadRequest, Answered, err, "the answer: %v", err)
	}
	data, inflated, err := c.inflate(a.flag, data)
	if err != nil {
		return b, Answered, details, badAnswer(err)
	}
	if most := c.ep.limits.maxMessage; len(data) > most {
		return b, Answered, details, localErr(TooLong, Answered, nil, "the answer has %d bytes, at most %d are accepted", len(data), most)
	}
	b = body{data: data, ser: m.ser, shared: a.shared && !inflated, kind: m.kind()}
	if m.v1 {
		return b, Answered, details, nil
	}
	for rest, n := meta, 0; len(rest) > 0; n++ {
		var e MetaEntry
		if e, rest, err = nextMeta(rest, n); err != nil {
			return b, Answered, details, localErr(BadRequest, Answered, err, "the answer: %v", err)
		}
		switch e.ID {
		case MetaSerializer:
			if b.kind, b.ser, err = c.ep.bodySerializer(e.Value, m.ser); err != nil {
				return b, Answered, details, localErr(BadRequest, Answered, err, "the answer: %v", err)
			}
		case MetaNotProcessed:
			d = NotProcessed
		case metaDelivery:
			if c.relays() && len(e.Value) == 1 {
				d = Delivery(e.Value[0])
			}
		case MetaDetails:
			details = body{data: append([]byte(nil), e.Value...), ser: m.ser}
		}
	}
	if !a.shared && b.kind != bytesBody {
		a.lent, b.shared = a.payload, true
	}
	if v, ok := ctx.Value(outgoingKey).(*outgoingValues); ok && v.reply != nil {
		*v.reply = userMeta(meta)
	}
	return b, d, details, nil
}
