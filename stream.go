package flyrpc

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// Stream is a call whose two ends send each other items, as many as they like, beside its
// message and its reply. Conn.OpenStream opens one; a handler that has a *Stream parameter is given
// the other end of it. Receive, Upload and Exchange, and iter.Seq2 and io.Reader in the handler, are
// the same with less to do.
//
// Send and CloseSend may be called concurrently with Recv and with each other, and Close
// with everything. The other end bounds what may be sent before its program has taken it: Send waits
// then.
type Stream struct {
	conn *Conn
	ctx  context.Context // of the caller, or the handler's
	seq  uint16
	flag Flag      // of this side's frames
	slot *slot     // at the caller
	call *incoming // at the callee
	in   inflow
	out  outflow

	// At the caller:
	open   bool          // the answer goes to final; guarded by callTable.mu
	final  chan struct{} // capacity 1: the answer is there
	cancel context.CancelFunc
	stop   func() bool // ends the watch over the caller's context

	wireMu sync.Mutex // held while an item's frames are queued, and not while its reader is read
	sealed bool       // the response is next: no more items; guarded by wireMu

	sendMu sync.Mutex
	enc    encBuf // for encoding items
	meta   []byte
	sent   bool         // an item, or a part of one
	broken error        // why nothing more can be sent
	torn   bool         // a part of an item, or of the request, was sent, and the rest wasn't
	burst  atomic.Int32 // items sent since Recv last waited

	recvMu   sync.Mutex
	answered bool  // the answer has come
	got      bool  // an item
	result   error // what Recv returns from now on
	over     func(error)
}

// newStream returns the stream of a call with a sequence.
func newStream(c *Conn, seq uint16, flag Flag) *Stream {
	s := &Stream{conn: c, seq: seq, flag: flag}
	s.in.window = flow.NewWindow(c.ep.limits.window)
	s.in.half = c.ep.limits.window / 2
	s.in.ready = make(chan struct{}, 1)
	s.in.chunk = -1
	if flag&FlagResponse == 0 {
		s.final = make(chan struct{}, 1)
	}
	s.out.begin(c.settled().window)
	return s
}

// Recv decodes the next item into v, a non-nil pointer, or drops it if v is nil. At
// the caller, a reply that is not empty and comes without items is an item.
//
// It returns io.EOF when there are no more: at the caller when the handler has returned, in the handler
// when the caller has called CloseSend. Every other error is an Error: the one that the handler
// returned, after the items sent before it; BadRequest for an item that can't be decoded,
// TooLong for one beyond MaxMessage, and both don't end the stream; or what ended the context or the
// connection.
func (s *Stream) Recv(v any) error {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	if s.result != nil {
		return s.result
	}
	b, err := s.nextBody()
	switch {
	case err == io.EOF && s.slot != nil:
		return s.conclude(v)
	case err != nil:
		return err
	case v == nil:
		return nil
	}
	return b.decode(v)
}

// Send sends an item: a message as SendMessage takes it, or an io.Reader, whose bytes go as
// raw items until it ends.
//
// It returns when the item is queued to be written, and waits while the other end takes no
// more. The error is io.EOF if the call has ended, which Recv tells more about; else an Error.
func (s *Stream) Send(v any) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if r, ok := v.(io.Reader); ok {
		return s.sendReader(r)
	}
	return s.send(v)
}

// CloseSend tells the handler that no more items come. The caller goes on with Recv. In a handler it does nothing:
// its items end when it returns. It returns nil, also if the call has ended.
func (s *Stream) CloseSend() error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if s.slot == nil || s.broken != nil {
		return nil
	}
	s.broken = localErr(Conflict, NotSent, nil, "the stream's items were ended with CloseSend")
	_, _ = s.conn.proto.out.put(s.ctx, &frame{flag: s.flag, seq: s.seq, code: endCode, of: s}, false)
	return nil
}

// Close ends the stream: what still comes is dropped and, at the caller, the handler is cancelled,
// unless it has returned. A caller that has seen Recv fail, with io.EOF say, needs no Close, and
// a handler doesn't either. It returns nil.
func (s *Stream) Close() error {
	if s.slot == nil {
		s.discard()
		return nil
	}
	err := localErr(Canceled, Unknown, context.Canceled, "the stream was closed")
	if s.ctx.Err() != nil {
		err = ctxErr(s.ctx, Unknown, "the stream")
	}
	s.closeFor(err)
	return nil
}

// abort gives the call up. Recv returns err from now on.
func (s *Stream) abort(err error) {
	s.settle(err)
	if s.conn.calls.abandon(s.slot) {
		s.conn.giveUp(s.slot)
		return
	}
	if !s.answered {
		<-s.final
	}
	s.conn.calls.release(s.slot)
}

// settle says what Recv returns from now on.
func (s *Stream) settle(result error) {
	s.result = result
	s.out.end(io.EOF)
	s.stop()
	s.cancel()
	s.discardAll()
	s.tellOver()
}

// conclude takes the answer of the call, after all items, and decodes it into v if it is the only one.
func (s *Stream) conclude(v any) error {
	b, err := s.conn.answerOf(s.ctx, s.slot)
	only := err == nil && !s.got && (len(b.data) > 0 || b.kind != encodedBody)
	if err == nil {
		err = io.EOF
	}
	defer s.conn.calls.release(s.slot) // the serializer may panic
	s.settle(err)
	if !only {
		return err
	}
	if v != nil {
		err = badItem(b.decode(v))
	} else {
		err = nil
	}
	s.conn.ep.bufs.put(s.slot.answer.lent)
	return err
}

// badItem says of an error of decode that the call was answered.
func badItem(err error) error {
	if err == nil {
		return nil
	}
	return localErr(BadRequest, Answered, err, "the answer: %v", err)
}

// nextBody returns the next item's body, whose bytes are valid until the next call.
func (s *Stream) nextBody() (b body, err error) {
	flag, payload, err := s.nextItem()
	if err != nil {
		return b, err
	}
	meta, data, err := splitMeta(flag, payload)
	if err != nil {
		return b, Errorf(BadRequest, "an item: %w", err)
	}
	data, inflated, err := s.conn.inflate(flag, data)
	if err != nil {
		return b, err
	}
	m := s.conn.mode.Load()
	b = body{data: data, ser: m.ser, shared: !inflated, kind: m.kind()}
	if most := s.conn.ep.limits.maxMessage; len(data) > most {
		return b, Errorf(TooLong, "an item has %d bytes, at most %d are accepted", len(data), most)
	}
	for rest, n := meta, 0; len(rest) > 0; n++ {
		var e MetaEntry
		if e, rest, err = nextMeta(rest, n); err != nil {
			return b, Errorf(BadRequest, "an item: %w", err)
		}
		if e.ID == MetaSerializer {
			if b.kind, b.ser, err = s.conn.ep.bodySerializer(e.Value, m.ser); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

// nextItem returns the next item's flags and payload, which is valid until the next call. At the caller io.EOF
// means that the answer has come.
func (s *Stream) nextItem() (flag Flag, payload []byte, err error) {
	in := &s.in
	for in.next == len(in.taking.list) {
		if err := s.refill(); err != nil {
			return 0, nil, err
		}
	}
	if in.taken >= in.half {
		s.giveBack()
	}
	it := in.taking.list[in.next]
	in.next++
	s.got = true
	in.taken += int(it.cost)
	if it.kind == longItem {
		return 0, nil, Errorf(TooLong, "an item has more than %d bytes", s.conn.ep.limits.maxMessage)
	}
	return it.flag, in.payload(it, &s.conn.ep.bufs), nil
}

// giveBack returns the credit of the items that the program has taken.
func (s *Stream) giveBack() {
	in := &s.in
	in.mu.Lock()
	in.window.Return(in.taken)
	in.taken = 0
	in.mu.Unlock()
	s.grant(true)
}

// refill takes what has come off the queue, returning the credit of what was taken before, and waits
// if nothing has.
func (s *Stream) refill() error {
	in := &s.in
	in.mu.Lock()
	in.window.Return(in.empty(&s.conn.ep.bufs))
	in.taking, in.queue = in.queue, in.taking
	if len(in.taking.list) > 0 {
		in.mu.Unlock()
		s.grant(true)
		return nil
	}
	over := in.ended || s.answered
	var claim bool
	if !over {
		in.waiting, in.wants = true, true
		claim = in.part.ask(in)
	}
	in.mu.Unlock()
	if over {
		return io.EOF
	}
	s.grant(true)
	if claim {
		s.conn.claimJoin(s, true)
	}
	s.conn.resume() // somebody has to read what comes
	return s.wait()
}

// wait waits until something has come.
func (s *Stream) wait() (err error) {
	in := &s.in
	s.burst.Store(0)
	select {
	case <-in.ready:
	case <-s.final:
		s.answered = true
	case <-s.ctx.Done():
		err = s.lost(ctxErr(s.ctx, Unknown, "waiting for an item"))
	}
	in.mu.Lock()
	if !in.waiting {
		select { // what has come while another thing ended the wait
		case <-in.ready:
		default:
		}
	}
	in.waiting, in.wants = false, false
	in.mu.Unlock()
	switch {
	case err == nil:
	case s.slot != nil:
		s.abort(err)
	default:
		s.cut(true)
	}
	return err
}

// lost returns err, or in a handler, whose context ends with its connection, that the connection was lost.
func (s *Stream) lost(err error) error {
	if s.slot == nil && s.conn.Err() != nil {
		return s.conn.lostError(s.conn.Err())
	}
	return err
}

// cut says that the handler's context has ended: what has come may be taken, and what still comes is dropped.
func (s *Stream) cut(kick bool) {
	in := &s.in
	in.mu.Lock()
	if in.ended {
		in.mu.Unlock()
		return
	}
	in.cut, in.drop = true, true
	in.window.Return(in.part.owed)
	claimed := in.part.claimed
	in.part = part{}
	in.mu.Unlock()
	if claimed {
		s.conn.dropJoin(s, kick)
	}
	s.grant(kick)
}

// discard drops what has come and what still comes.
func (s *Stream) discard() {
	in := &s.in
	in.mu.Lock()
	in.drop = true
	in.window.Return(in.queue.clear(0, &s.conn.ep.bufs) + in.part.owed)
	claimed := in.part.reset(&s.conn.ep.bufs)
	in.mu.Unlock()
	if claimed {
		s.conn.dropJoin(s, true)
	}
	s.grant(true)
}

// discardAll is discard for the one who takes items.
func (s *Stream) discardAll() {
	s.in.mu.Lock()
	s.in.window.Return(s.in.empty(&s.conn.ep.bufs))
	s.in.mu.Unlock()
	s.discard()
}

// discardPart drops what has come of something that isn't complete.
func (s *Stream) discardPart() {
	s.in.mu.Lock()
	claimed := s.in.part.reset(&s.conn.ep.bufs)
	s.in.mu.Unlock()
	if claimed {
		s.conn.dropJoin(s, false)
	}
}

// close says that the call has ended: nothing is sent any more, no credit is granted either.
func (s *Stream) close() {
	s.in.mu.Lock()
	s.in.over = true
	s.in.mu.Unlock()
	s.out.end(io.EOF)
}

// isOver reports whether the call has ended with its answer, or its connection.
func (s *Stream) isOver() bool {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return s.in.over
}

// end is close and discard.
func (s *Stream) end() {
	s.close()
	s.discard()
}
