package flyrpc

import (
	"context"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// SendMessage sends a one-way message to the handler of path at the other end. It
// returns when the message is queued to be written; whether it arrives isn't known. It waits while the other end
// takes no more. A version 1 peer may drop it while it handles as many as it can and has calls open itself. The
// error, an Error, is for messages that were not sent.
func (c *Conn) SendMessage(ctx context.Context, path string, message any) error {
	call := Outgoing{Conn: c, Path: path, Message: message, OneWay: true}
	if c.ep.invoke != nil {
		escaped := call
		return c.ep.invoke(ctx, &escaped)
	}
	return c.send(ctx, &call)
}

// send sends a one-way message.
func (c *Conn) send(ctx context.Context, call *Outgoing) error {
	if ctx.Err() != nil {
		return ctxErr(ctx, NotSent, call.Path)
	}
	if bye := c.bye.Load(); bye != nil {
		return notSent(bye)
	}
	m := c.settled()
	if m.http {
		return errOneWay()
	}
	e, ok := c.ep.encs.Get().(*encBuf)
	if !ok {
		e = new(encBuf)
	}
	f := frame{code: call.Path, path: true}
	_, _, err := c.compose(ctx, m, call, &f, e, nil)
	if err == nil {
		err = c.message(ctx, m, &f)
		c.ep.unborrow(&f)
	}
	c.ep.encs.Put(e)
	if call.queued != nil {
		call.queued() // or can't be
	}
	return err
}

// message sends a one-way message, when there is credit for it. The error is an Error: not sent, or not processed if
// pieces of it were.
func (c *Conn) message(ctx context.Context, m *mode, f *frame) error {
	if m.packet > 0 {
		return c.numberedMessage(ctx, m, f)
	}
	if m.whole {
		_, err := c.proto.out.put(ctx, f, false)
		return unsent(err)
	}
	if f.size() > m.messagePart() {
		return c.largeMessage(ctx, m, f)
	}
	cost := flow.Cost(f.size())
	if err := c.messages.spend(ctx, c, cost, "more one-way messages"); err != nil {
		return notSent(err)
	}
	_, err := c.proto.out.put(ctx, f, false)
	if err != nil {
		c.messages.refund(cost)
	}
	return unsent(err)
}

// numberedMessage sends a one-way message over datagrams, with a sequence of its own: so it is handled once, though it may come twice.
func (c *Conn) numberedMessage(ctx context.Context, m *mode, f *frame) error {
	if err := m.fits(f); err != nil {
		return err
	}
	s := c.calls.tryAcquire() // it doesn't wait for calls, which may wait for it
	if s == nil {
		var err error
		if s, _, err = c.calls.acquire(ctx); err != nil {
			return notSent(err)
		}
	}
	f.seq = s.seq
	_, err := c.proto.out.put(ctx, f, false)
	c.calls.withdraw(s)
	return unsent(err)
}

// unsent is notSent for an error that may be nil.
func unsent(err error) error {
	if err == nil {
		return nil
	}
	return notSent(err)
}

// messagePart returns the most bytes of payload in the last, or only, packet of a one-way message.
func (m *mode) messagePart() int { return min(m.maxFrame, maxPart, flow.Part(m.messages)) }

// largeMessage sends a one-way message in pieces, and a ping behind it: with its answer nothing can come any more for
// the sequence that the pieces had.
func (c *Conn) largeMessage(ctx context.Context, m *mode, f *frame) error {
	s, _, err := c.calls.acquire(ctx)
	if err != nil {
		return notSent(err)
	}
	st := newStream(c, s.seq, FlagStream)
	if err := c.calls.attach(s, st, false); err != nil {
		c.calls.withdraw(s)
		return notSent(err)
	}
	f.seq = s.seq
	part := min(m.part, m.messagePart())
	// the credit for the last packet first: the pieces hold what others wait for, and must not wait for others
	cost := flow.Cost(part)
	if err = c.messages.spend(ctx, c, cost, "more one-way messages"); err == nil {
		if err = st.sendParts(itemContext{ctx}, f, part, FlagStream|FlagWait); err == nil {
			_, err = c.proto.out.put(ctx, f, false)
		}
		unused := cost
		if err == nil {
			unused -= flow.Cost(f.size())
		}
		c.messages.refund(unused)
	}
	switch {
	case err == nil:
		c.fence(s)
		return nil
	case st.torn:
		c.withdrawHalf(s)
		return notProcessed(err)
	}
	c.calls.withdraw(s)
	return notSent(err)
}

// fence sends a ping with the sequence of a message that was sent in pieces. Its answer frees the slot.
func (c *Conn) fence(s *slot) {
	if !c.calls.abandon(s) {
		<-s.answeredBy()
		c.calls.release(s)
		return
	}
	_ = c.proto.out.putNow(&frame{flag: FlagWait, seq: s.seq, code: pingPath})
	c.calls.letGo(s)
}
