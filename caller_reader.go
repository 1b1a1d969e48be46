package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// readers reports whether a call carries an io.Reader, either way.
func (call *Outgoing) readers() bool {
	switch call.Reply.(type) {
	case *io.Reader, *io.ReadCloser:
		return true
	}
	_, ok := call.Message.(io.Reader)
	return ok
}

// roundTripReaders is roundTrip for a call that carries an io.Reader.
func (c *Conn) roundTripReaders(ctx context.Context, call *Outgoing) error {
	src, sends := call.Message.(io.Reader)
	opening := *call
	opening.Streams, opening.receives = true, !sends
	if sends {
		opening.Message = nil
	}
	if err := c.open(ctx, &opening); err != nil {
		return err
	}
	st := opening.stream
	set := readerSetter(call.Reply)
	if set == nil {
		return st.upload(src, call.Reply)
	}
	if sends {
		c.ep.workers.Go(sendTask{st, src}, nil)
	}
	r := &itemReader{s: st}
	if err := r.start(); err != nil {
		return err
	}
	set(r)
	return nil
}

// readerSetter returns what sets reply, if that points to a reader.
func readerSetter(reply any) func(*itemReader) {
	switch p := reply.(type) {
	case *io.Reader:
		return func(r *itemReader) { *p = r }
	case *io.ReadCloser:
		return func(r *itemReader) { *p = r }
	}
	return nil
}

// sendTask sends a reader's bytes while another goroutine receives.
type sendTask struct {
	s   *Stream
	src io.Reader
}

// Run sends until the reader or the call ends.
func (t sendTask) Run(*pool.Worker) {
	defer func() {
		if r := recover(); r != nil { // whoever reads the reply is told that the stream was closed
			t.s.conn.logPanic("a reader that is sent", r)
			t.s.Close()
		}
	}()
	if err := t.s.Send(t.src); err != nil && err != io.EOF {
		t.s.Close()
		return
	}
	_ = t.s.CloseSend()
}

// upload sends the bytes of src while it waits for the reply, which may come in bytes as the handler takes those of src.
func (s *Stream) upload(src io.Reader, reply any) error {
	defer s.Close()
	t := &uploadTask{s: s, src: src, sent: make(chan struct{})}
	s.conn.ep.workers.Go(t, nil)
	err := s.reply(reply)
	<-t.sent // src is the caller's again
	switch {
	case t.panicked != nil:
		panic(t.panicked)
	case err != nil && t.err != nil:
		return begun(t.err)
	}
	return err
}

// uploadTask sends a reader's bytes for upload.
type uploadTask struct {
	s        *Stream
	src      io.Reader
	err      error // why not all was sent
	panicked any
	sent     chan struct{}
}

// Run sends until the reader or the call ends. What goes wrong ends the call.
func (t *uploadTask) Run(*pool.Worker) {
	returned := false
	defer func() {
		t.panicked = recover()
		close(t.sent)
		if t.err != nil || !returned { // a panic, or the end of the goroutine
			t.s.Close()
		}
	}()
	if t.err = t.s.Send(t.src); t.err == nil {
		_ = t.s.CloseSend()
	} else if t.err == io.EOF {
		t.err = nil
	}
	returned = true
}

// wantReply has a reply that comes in pieces put together while items are still sent, as it ends that.
func (s *Stream) wantReply() {
	in := &s.in
	in.mu.Lock()
	in.wants = true
	claim := in.part.ask(in)
	in.mu.Unlock()
	if claim {
		s.conn.claimJoin(s, true)
	}
}

// collect ends a call whose caller wants one reply and was sent an item.
func (c *Conn) collect(ctx context.Context, s *slot, reply any) error {
	s.stream.begin(ctx)
	return s.stream.reply(reply)
}

// reply waits for the one reply of a call. Raw items are joined, if that is what reply points to.
func (s *Stream) reply(v any) error {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	if s.result != nil {
		return s.result
	}
	b, err := s.nextBody()
	if err == nil {
		err = s.joinItems(b, v)
	}
	if err != io.EOF {
		if s.result == nil {
			s.abort(err)
		}
		return err
	}
	if err = s.conclude(v); err == io.EOF {
		err = nil
	}
	return err
}

// joinItems joins raw items, of which b is the first, into v. It returns io.EOF when all have come.
func (s *Stream) joinItems(b body, v any) error {
	var joined bytes.Buffer
	var err error
	for err == nil {
		switch v.(type) {
		case *[]byte, *string:
		default:
			return localErr(BadRequest, Answered, nil, "the handler answers with items: take them with Receive")
		}
		if b.kind == encodedBody {
			return localErr(BadRequest, Answered, nil, "the handler answers with items that aren't raw: take them with Receive")
		}
		if most := s.conn.ep.limits.maxMessage; joined.Len()+len(b.data) > most {
			return localErr(TooLong, Answered, nil, "the handler answers with more than %d bytes: take an io.Reader", most)
		}
		joined.Write(b.data)
		b, err = s.nextBody()
	}
	var e *Error
	if errors.As(err, &e) && s.result == nil {
		return localErr(e.Code, Answered, e, "an item: %s", e.Message)
	}
	if err == io.EOF {
		switch p := v.(type) {
		case *[]byte:
			*p = joined.Bytes()
		case *string:
			*p = joined.String()
		}
	}
	return err
}

// itemReader reads the raw items of a stream as bytes.
type itemReader struct {
	s    *Stream
	mu   sync.Mutex // held by who reads; Close doesn't wait for it
	rest []byte     // the stream's; guarded by its recvMu, as err is
	err  error
}

// Read reads what has come, and waits if nothing has. The error is io.EOF at the end or an Error.
func (r *itemReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.recvMu.Lock()
	defer r.s.recvMu.Unlock()
	for len(r.left()) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes all that comes to w.
func (r *itemReader) WriteTo(w io.Writer) (n int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		rest, err := r.lend()
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		m, err := w.Write(rest)
		n += int64(m)
		r.takeBack(m)
		if err != nil {
			return n, err
		}
	}
}

// lend returns what is to be read next, whose memory stays as it is until takeBack is called.
func (r *itemReader) lend() ([]byte, error) {
	r.s.recvMu.Lock()
	defer r.s.recvMu.Unlock()
	for len(r.left()) == 0 {
		if err := r.next(); err != nil {
			return nil, err
		}
	}
	r.s.in.lent = true
	return r.rest, nil
}

// takeBack says that n bytes of what was lent were read, and the rest isn't looked at any more.
func (r *itemReader) takeBack(n int) {
	r.s.recvMu.Lock()
	defer r.s.recvMu.Unlock()
	r.s.in.lent = false
	r.rest = r.rest[n:]
}

// left returns what is left of the last item: nothing, once the stream was given up and its memory
// is another's. It is called with recvMu held.
func (r *itemReader) left() []byte {
	if result := r.s.result; result != nil && result != io.EOF {
		r.rest = nil
	}
	return r.rest
}

// start waits for the first item, or the end.
func (r *itemReader) start() error {
	r.s.recvMu.Lock()
	defer r.s.recvMu.Unlock()
	if err := r.next(); err != io.EOF {
		return err
	}
	return nil
}

// next takes the next item.
func (r *itemReader) next() error {
	if r.err != nil {
		return r.err
	}
	s := r.s
	if s.result != nil {
		return s.result
	}
	b, err := s.nextBody()
	switch {
	case err == io.EOF && s.slot != nil:
		var last []byte
		r.err = s.conclude(&last)
		if r.err == nil {
			r.rest, r.err = last, io.EOF
			return nil
		}
		return r.err
	case err != nil:
		r.err = err
	case b.kind == encodedBody:
		r.err = localErr(BadRequest, Answered, nil, "the items aren't raw: take them with Recv")
	default:
		r.rest = b.data
		return nil
	}
	if s.slot != nil && s.result == nil {
		s.abort(r.err)
	}
	return r.err
}

// Close gives up what is left: at the caller it cancels the handler, unless that has returned. It returns nil.
func (r *itemReader) Close() error { return r.s.Close() }
