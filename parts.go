package flyrpc

import (
	"context"
	"io"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// maxPart is the most bytes of payload in a packet that this side sends, whatever the other end takes: so others
// don't wait long behind it.
const maxPart = DefaultMaxFrame

// send sends an item. It is called with sendMu held.
func (s *Stream) send(v any) (err error) {
	if s.broken != nil {
		return s.broken
	}
	m := s.conn.mode.Load()
	if m.whole {
		return localErr(BadRequest, NotSent, nil, "%s takes no items", m.who())
	}
	buf := s.enc.take(&s.conn.ep.bufs, rawLen(v))
	enc, kind, err := encodeBody(buf, v, m.ser, false)
	if err != nil {
		s.enc.done(&s.conn.ep.bufs, nil, nil)
		return localErr(BadRequest, NotSent, err, "%v", err)
	}
	if len(enc) > m.maxMessage {
		s.enc.done(&s.conn.ep.bufs, nil, enc)
		return localErr(TooLong, NotSent, nil, "the item has %d bytes, the other end accepts %d", len(enc), m.maxMessage)
	}
	s.meta = markKind(s.meta[:0], kind)
	f := frame{flag: s.flag, seq: s.seq, meta: s.meta, body: enc, keep: true}
	if s.call == nil || !s.call.route.opts.noCompress() {
		s.conn.ep.zip(&f, m)
	}
	s.enc.done(&s.conn.ep.bufs, &f, enc)
	err = s.sendItem(&f, m)
	s.conn.ep.unborrow(&f)
	return err
}

// rawLen returns the length of a message that travels raw, and 0 for others.
func rawLen(v any) int {
	switch m := v.(type) {
	case []byte:
		return len(m)
	case string:
		return len(m)
	}
	return 0
}

// sendItem sends the frame of an item, in pieces if it is large.
func (s *Stream) sendItem(f *frame, m *mode) error {
	s.wireMu.Lock()
	defer s.wireMu.Unlock()
	if s.sealed {
		return s.sendFailed(io.EOF)
	}
	if err := s.out.ended(); err != nil {
		return s.sendFailed(err)
	}
	if s.ctx.Err() != nil {
		return s.sendFailed(ctxErr(s.ctx, NotSent, "sending an item"))
	}
	if f.size() > m.part {
		if err := s.sendParts(s.ctx, f, m.part, s.flag); err != nil {
			return s.sendFailed(err)
		}
	}
	cost := flow.Cost(f.size())
	if err := s.out.spend(s.ctx, s.conn, cost, "items"); err != nil {
		return s.sendFailed(err)
	}
	f.of, f.bulk, f.lazy = s, true, s.burst.Add(1) > 2
	if _, err := s.conn.proto.out.put(s.ctx, f, false); err != nil {
		return s.sendFailed(err)
	}
	s.sent, s.torn = true, false
	return nil
}

// sendFailed returns what Send returns for an error, after which it can't go on if a part of the item
// was sent.
func (s *Stream) sendFailed(err error) error {
	if s.slot != nil && s.isOver() { // which may have ended the context too
		err = io.EOF
	}
	if err == io.EOF {
		s.broken = err
	} else {
		err = notSent(s.lost(err))
	}
	if s.torn {
		s.broken = err
		if s.call != nil { // the caller waits for the rest, and others behind it
			s.call.answerTorn(err)
		}
	}
	return err
}

// sendParts sends as pieces what of f doesn't fit a packet of size bytes of payload: f is then what remains.
func (s *Stream) sendParts(ctx context.Context, f *frame, size int, flag Flag) error {
	f.zipped = nil // the writer may have it
	f.keep = f.keep || f.lent != nil
	if len(f.meta) > 0 {
		head := appendMetaBlock(nil, f.meta)
		f.meta, f.flag = nil, f.flag|FlagMeta
		for ; len(head) > 0; head = head[min(len(head), size):] {
			if err := s.sendPart(ctx, flag, head[:min(len(head), size)], false, nil); err != nil {
				return err
			}
		}
	}
	for len(f.body) > size {
		part, rest, lent := f.body[:size:size], f.body[size:], []byte(nil)
		if f.lent != nil && size >= largeBody && len(rest) < largeBody { // which is copied when it is queued, as late as it may be
			lent = f.lent
			f.lent = s.conn.ep.bufs.copyOf(rest)
			rest = f.lent
		}
		if err := s.sendPart(ctx, flag, part, f.keep, lent); err != nil {
			return err
		}
		f.body = rest
	}
	return nil
}

// sendPart sends one piece. If keep is true, part may be held until it is written; lent is the connection's buffer that it is
// the last piece in, or nil.
func (s *Stream) sendPart(ctx context.Context, flag Flag, part []byte, keep bool, lent []byte) error {
	if err := s.out.spend(ctx, s.conn, flow.Cost(len(part)), "a large message"); err != nil {
		return err
	}
	f := frame{flag: flag, seq: s.seq, code: pieceCode, body: part, keep: keep, lent: lent, of: s, bulk: true}
	if !keep && len(part) >= largeBody { // here rather than with the writer's lock held
		f.lent = s.conn.ep.bufs.copyOf(part)
		f.body = f.lent
	}
	_, err := s.conn.proto.out.put(ctx, &f, false)
	if err == nil {
		s.torn = true
	}
	return err
}

// sendReader sends the bytes of r as raw items. It is called with sendMu held.
func (s *Stream) sendReader(r io.Reader) error {
	if s.broken != nil {
		return s.broken
	}
	m := s.conn.mode.Load()
	if m.whole {
		return localErr(BadRequest, NotSent, nil, "%s takes no items", m.who())
	}
	meta := markKind(nil, bytesBody)
	for {
		buf := s.conn.ep.bufs.getPart()
		n, err := readSome(r, buf[:min(64<<10, max(1, m.part-len(meta)-1))])
		if n > 0 {
			f := frame{flag: s.flag, seq: s.seq, meta: meta, body: buf[:n], lent: buf}
			if sendErr := s.sendItem(&f, m); sendErr != nil {
				return sendErr
			}
		} else {
			s.conn.ep.bufs.put(buf)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return localErr(Failed, Unknown, err, "reading what is to be sent: %v", err)
		}
	}
}

// readSome reads once from r, and again while nothing comes.
func readSome(r io.Reader, buf []byte) (n int, err error) {
	for range maxEmptyReads {
		if n, err = r.Read(buf); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
