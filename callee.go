package flyrpc

import (
	"bytes"
	"context"
	"io"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// stream returns the stream of a request of the other end, and makes it if there is none yet.
func (in *incoming) stream() *Stream {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.items == nil {
		s := newStream(in.conn, in.seq, FlagStream|FlagResponse)
		s.call = in
		s.in.drop, s.in.ended, s.in.stray = true, true, true
		if in.replied {
			s.close()
		}
		in.items = s
	}
	return in.items
}

// openItems gives in, a request whose caller sends items, its stream: half, if the request
// came in pieces.
func (in *incoming) openItems(half *Stream) {
	s := half
	if s == nil {
		s = newStream(in.conn, in.seq, FlagStream|FlagResponse)
	}
	s.call = in
	s.in.mu.Lock()
	s.in.wants, s.in.drop = false, !in.route.takes
	s.in.mu.Unlock()
	in.items = s
}

// opened returns the stream of a request if it has one, or nil.
func (in *incoming) opened() *Stream {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.items
}

// cutItems says that the caller has given up.
func (in *incoming) cutItems() {
	if s := in.opened(); s != nil {
		s.cut(false)
	}
}

// endItems says that the response is about to be sent: nothing else is from then on.
func (in *incoming) endItems() {
	in.mu.Lock()
	in.replied = true
	s := in.items
	in.mu.Unlock()
	if s != nil {
		s.end()
	}
}

// openStream returns the stream of the call that c handles, for its handler.
func (c *Context) openStream() *Stream {
	s := c.in.stream()
	c.in.mu.Lock() // and not sendMu: what is being sent may be made of what is received
	defer c.in.mu.Unlock()
	switch {
	case s.ctx != nil:
		return s
	case c.in.flag&FlagWait == 0:
		s.broken = localErr(BadRequest, NotSent, nil, "a one-way message can't be answered with items")
	case c.in.inline:
		s.broken = localErr(Internal, NotSent, nil, "an Inline handler can't send items")
	}
	s.ctx = itemContext{c}
	return s
}

// reader returns what the caller sends as bytes. whole means that the message counts too.
func (c *Context) reader(whole bool) io.Reader {
	if c.in.flag&(FlagStream|FlagWait) == FlagStream|FlagWait {
		return &itemReader{s: c.openStream()}
	}
	if whole {
		return bytes.NewReader(c.in.body.bytes())
	}
	return bytes.NewReader(nil)
}

// itemContext is a handler's context for its items, which wait for as long as it takes and
// not for HandlerWait.
type itemContext struct{ context.Context }

// Value is that of the handler's context, without the handler.
func (c itemContext) Value(key any) any {
	if key == handlerKey {
		return nil
	}
	return c.Context.Value(key)
}

// connContext is a context that ends with a connection.
type connContext struct {
	context.Context
	c *Conn
}

// Done returns the connection's channel.
func (c connContext) Done() <-chan struct{} { return c.c.done }

// Err returns context.Canceled once the connection has ended.
func (c connContext) Err() error {
	if c.c.Err() != nil {
		return context.Canceled
	}
	return nil
}

// context returns a context that ends with the connection.
func (c *Conn) context() context.Context { return connContext{context.Background(), c} }

// lastItem sends the message that a handler returns after it has sent items, as the last of them, and reports
// whether it did. The error is what has become of it, or of the items before it.
func (in *incoming) lastItem(result any) (sent bool, err error) {
	s := in.opened()
	if s == nil {
		return false, nil
	}
	streamed, err := s.seal(result == nil)
	if err != nil || result == nil || !streamed {
		return false, err
	}
	if !s.sendMu.TryLock() {
		return false, localErr(Internal, Unknown, nil, "the handler returned an item while it was sending another one")
	}
	defer s.sendMu.Unlock()
	defer func() {
		if r := recover(); r != nil { // the serializer or the reader
			err = in.panicked(r)
		}
	}()
	if r, ok := result.(io.Reader); ok {
		err = s.sendReader(r)
	} else {
		err = s.send(result)
	}
	_, _ = s.seal(true)
	if err == io.EOF {
		err = localErr(Canceled, Unknown, nil, "the reply was not sent: the handler had ended its items")
	}
	return true, err
}

// answerTorn ends a call one of whose items wasn't sent to its end, which nothing else can.
func (in *incoming) answerTorn(err error) {
	if in.claimReply() {
		in.conn.in.repliesEarly(in)
		in.respondError(err, false)
	}
}

// seal says, if all is true or no item was sent, that no more items are sent, and reports whether some were. The
// error is that one was not sent to its end, so that only an error may follow.
func (s *Stream) seal(all bool) (sent bool, err error) {
	if !s.wireMu.TryLock() { // the handler has left a Send behind
		s.out.end(io.EOF)
		s.wireMu.Lock()
		s.out.reopen()
	}
	defer s.wireMu.Unlock()
	s.sealed = s.sealed || all || !s.sent
	if s.torn {
		err = localErr(Canceled, Unknown, nil, "an item was not sent to its end")
	}
	return s.sent, err
}

// sendLarge sends a response in pieces.
func (in *incoming) sendLarge(f *frame, m *mode) error {
	s := in.stream()
	s.discard() // nobody takes items any more, and a caller that waits to send them may not look for the reply
	err := s.sendParts(in.conn.context(), f, min(m.part, m.maxFrame), FlagStream|FlagResponse)
	if err != nil {
		err = localErr(Unavailable, Unknown, err, "the reply was not sent to its end: %v", err)
		in.respondError(err, false)
		return err
	}
	return in.put(f)
}

// largeReply is a response in pieces of a handler that runs on the reader.
type largeReply struct {
	in *incoming
	f  frame
	m  *mode
}

// Run sends the response.
func (r largeReply) Run(*pool.Worker) {
	_ = r.in.sendLarge(&r.f, r.m)
}
