package flyrpc

import (
	"context"
	"io"
)

// OpenStream calls the handler of path at the other end with message and returns the Stream on which
// both send each other items. It returns when the request is queued to be written; what the handler makes of it
// Recv tells. An error is an Error.
//
// The Stream holds one of the calls that the other end takes until Recv has failed, with io.EOF at the
// end, or Close was called, or ctx has ended, which cancels the handler.
func (c *Conn) OpenStream(ctx context.Context, path string, message any) (*Stream, error) {
	return c.openStream(ctx, path, message, false)
}

// openStream is OpenStream, for a caller that sends no items if receives is true.
func (c *Conn) openStream(ctx context.Context, path string, message any, receives bool) (*Stream, error) {
	return c.openStreamAs(ctx, &Outgoing{Conn: c, Path: path, Message: message, Streams: true, receives: receives})
}

// openStreamAs opens the stream that call says.
func (c *Conn) openStreamAs(ctx context.Context, call *Outgoing) (*Stream, error) {
	if err := c.intercepted(ctx, call); err != nil {
		if call.stream != nil { // an interceptor didn't like it
			call.stream.Close()
		}
		return nil, err
	}
	if call.stream == nil {
		return nil, localErr(Internal, NotSent, nil, "an interceptor opened no stream and returned no error")
	}
	return call.stream, nil
}

// open opens a stream.
func (c *Conn) open(ctx context.Context, call *Outgoing) error {
	if m := c.settled(); m.whole {
		return localErr(BadRequest, NotSent, nil, "%s has no streams", m.who())
	}
	if call.stream != nil { // an interceptor repeats the call
		call.stream.Close()
		call.stream = nil
	}
	_, err := c.start(ctx, call)
	switch {
	case err == nil:
		call.stream.watch(ctx)
	case call.stream != nil:
		call.stream.cancel()
		call.stream = nil
	}
	return err
}

// closeFor closes the stream at the caller for a reason, which Recv returns from then on, unless the stream has ended.
func (s *Stream) closeFor(reason error) {
	s.cancel()
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	if s.result == nil {
		s.abort(reason)
	}
}

// watch has the stream closed when ctx ends. Before the request is queued nothing could be cancelled.
func (s *Stream) watch(ctx context.Context) {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	s.stop = context.AfterFunc(ctx, func() { s.closeFor(ctxErr(ctx, Unknown, "the stream")) }) // s.ctx may end a moment later
}

// whenOver has f called once, with what Recv returns at last, or nil for io.EOF, when the stream has ended at its caller.
func (s *Stream) whenOver(f func(error)) {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	s.over = f
	if s.result != nil {
		s.tellOver()
	}
}

// tellOver calls what whenOver was given. It is called with recvMu held.
func (s *Stream) tellOver() {
	f, err := s.over, s.result
	if f == nil {
		return
	}
	s.over = nil
	if err == io.EOF {
		err = nil
	}
	f(err)
}

// streamOf gives a call that isn't sent yet its stream. For the error see attach.
func (c *Conn) streamOf(ctx context.Context, s *slot) (*Stream, error) {
	st := newStream(c, s.seq, FlagStream)
	if err := c.calls.attach(s, st, true); err != nil {
		return nil, err
	}
	st.begin(ctx)
	return st, nil
}

// begin sets the context of the caller.
func (s *Stream) begin(ctx context.Context) {
	s.ctx, s.cancel = context.WithCancel(itemContext{ctx})
	s.stop = func() bool { return true }
}

// attach gives the call in s a stream before it is sent. open tells that the answer goes there. The
// error is why the call was answered already: where its answer goes mustn't change any more.
func (t *callTable) attach(s *slot, st *Stream, open bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.state != slotAnswered && s.stream == nil:
		st.slot, st.open = s, open
		s.stream = st
		return nil
	case t.refuse != nil:
		return t.refuse
	}
	return localErr(Unavailable, NotSent, nil, "the other end answered before it was asked")
}

// stream returns the stream of an open call that a frame is for, and makes it if there is none yet; nil if
// the call isn't open. The first item for a caller that waits for one reply opens
// the stream: the caller is then to be told.
func (t *callTable) stream(c *Conn, seq uint16, isItem bool) (st *Stream, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lookup(seq)
	if s == nil || s.isPing || s.state == slotFree || s.state == slotAnswered {
		return nil, false
	}
	if s.stream == nil {
		s.stream = newStream(c, seq, FlagStream)
		s.stream.slot = s
		s.stream.in.wants = true
		s.stream.in.drop = s.state == slotAbandoned
	}
	if isItem && s.state == slotOpen && !s.stream.open {
		s.stream.open, first = true, true
	}
	return s.stream, first
}
