package flyrpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// answer sends what the handler returned, unless it was a message or the handler
// has replied itself. buf is for encoding; it returns the buffer to use next time.
func (in *incoming) answer(buf []byte, result any, err error) []byte {
	if in.flag&FlagWait == 0 {
		if err != nil && in.conn.ep.log.Enabled(context.Background(), slog.LevelDebug) {
			in.conn.ep.log.Debug("flyrpc: message handler failed", "conn", in.conn.id, "path", in.path, "code", string(in.toWire(err).code))
		}
		return buf
	}
	if !in.claimReply() { // whoever did may be answering now, and reads settled
		return buf
	}
	in.settled = true
	if err == nil && in.route.streams {
		var sent bool
		if sent, err = in.lastItem(result); sent {
			result = nil
		}
	}
	if err != nil {
		in.respondError(err, false)
		return buf
	}
	m := in.conn.mode.Load()
	if raw, kind, kept := largeRaw(result); raw != nil {
		_ = in.send("", raw, kind, kept, nil)
		return buf
	}
	e := encBuf{own: buf, last: int(in.route.large.Load())}
	expected := e.last
	out, kind, err := in.encode(e.take(&in.conn.ep.bufs, rawLen(result)), result, m)
	if err != nil {
		e.done(&in.conn.ep.bufs, nil, nil)
		in.respondError(err, false)
		return buf
	}
	_ = in.send("", out, kind, true, &e)
	if e.last != expected {
		in.route.large.Store(int64(e.last))
	}
	return e.own
}

// encode is encodeBody for what a handler has returned, whose own methods may panic.
func (in *incoming) encode(buf []byte, v any, m *mode) (out []byte, kind bodyKind, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, kind, err = buf, encodedBody, in.panicked(r)
		}
	}()
	if out, kind, err = encodeBody(buf, v, m.ser, m.v1); err != nil {
		err = localErr(Internal, Unknown, err, "the reply can't be encoded: %v", err)
	}
	return out, kind, err
}

// encodeDetails encodes error details, which the serializer encodes whatever they are.
func (in *incoming) encodeDetails(m *mode, details any) (enc []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = in.panicked(r)
		}
	}()
	return m.ser.Encode(nil, details)
}

// toWire says how err travels. The error's own methods may panic.
func (in *incoming) toWire(err error) (w wireError) {
	defer func() {
		if r := recover(); r != nil {
			w = wireError{code: HandlerPanic, message: "the handler panicked"}
			_ = in.panicked(r)
		}
	}()
	return in.conn.ep.errors.toWire(err)
}

// refuse answers a request whose handler doesn't start.
func (in *incoming) refuse(err error) {
	if in.flag&FlagWait == 0 {
		in.conn.ep.log.Debug("flyrpc: message dropped", "conn", in.conn.id, "path", in.path, "error", err)
		return
	}
	if in.claimReply() {
		in.settled = true
		in.respondError(err, true)
	}
}

// respondError sends an error response.
func (in *incoming) respondError(err error, notProcessed bool) {
	m := in.conn.mode.Load()
	w := in.toWire(err)
	in.conn.fitError(&w)
	f := frame{flag: FlagResponse, seq: in.seq, code: string(w.code), body: []byte(w.message), answers: in}
	if m.v1 {
		if w.code == Failed {
			f.code = cmp.Or(cleanCode(w.message), string(Failed))
		}
		in.put(&f)
		return
	}
	f.meta = in.takeMeta()
	if notProcessed || in.refuses(err) {
		f.meta = AppendMeta(f.meta, MetaNotProcessed, "", "")
	}
	var e *Error
	if in.conn.relays() && errors.As(err, &e) {
		f.meta = AppendMeta(f.meta, metaDelivery, "", []byte{byte(e.delivery)})
	}
	if w.details != nil {
		f.meta = in.addDetails(f.meta, m, w.details)
	}
	if len(f.meta)+len(f.code)+3 >= m.maxFrame { // it has to be one packet
		f.meta = nil
	}
	m.fitMessage(&f)
	in.put(&f)
}

// fitMessage cuts the message of an error response to what the other end takes.
func (m *mode) fitMessage(f *frame) {
	most := min(m.maxMessage, m.maxFrame-len(f.meta)-3)
	if m.packet > 0 {
		most -= len(f.code)
	}
	if most = max(1, most); len(f.body) > most {
		f.body = []byte(strings.ToValidUTF8(string(f.body[:min(most, maxCodeLen)]), ""))
	}
}

// addDetails adds error details to a response's metadata, if they fit.
func (in *incoming) addDetails(meta []byte, m *mode, details any) []byte {
	enc, err := in.encodeDetails(m, details)
	if err == nil && len(meta)+len(enc)+8 > maxMetaLen {
		err = fmt.Errorf("they have %d bytes, metadata at most %d", len(enc), maxMetaLen)
	}
	if err != nil {
		in.conn.ep.log.Warn("flyrpc: error details not sent: "+err.Error(), "conn", in.conn.id, "path", in.path)
		return meta
	}
	return AppendMeta(meta, MetaDetails, "", enc)
}

// takeMeta returns the response's metadata that the handler has set.
func (in *incoming) takeMeta() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.extra == nil {
		return nil
	}
	return slices.Clip(in.extra.meta)
}

// send sends a response. If keep is true, the writer may have the payload, which was encoded in e if that isn't nil; else it is
// copied.
func (in *incoming) send(code string, payload []byte, kind bodyKind, keep bool, e *encBuf) error {
	m := in.conn.mode.Load()
	f := frame{flag: FlagResponse, seq: in.seq, code: code, body: payload, keep: keep, answers: in}
	if !m.v1 {
		f.meta = markKind(in.takeMeta(), kind)
	}
	if !in.route.opts.noCompress() && len(payload) <= m.maxMessage {
		in.conn.ep.zip(&f, m)
	}
	if e != nil {
		e.done(&in.conn.ep.bufs, &f, payload)
	}
	n := f.size()
	switch {
	case len(payload) > m.maxMessage, n > m.maxFrame && (m.whole || code != ""), m.fits(&f) != nil:
		in.conn.ep.unborrow(&f)
		in.conn.ep.bufs.put(f.lent)
		most := m.maxMessage
		if len(payload) <= most {
			most = m.maxFrame
		}
		err := localErr(TooLong, Unknown, nil, "the reply has %d bytes, the other end accepts %d", len(payload), most)
		in.respondError(err, false)
		return err
	case n > min(m.maxFrame, maxPart) && !m.whole && code == "":
		own := f.zipped != nil
		f.zipped = nil                                                                   // the writer may have it
		if in.inline && !own && f.lent == nil && (!f.keep || len(payload) < largeBody) { // the buffer is used again
			f.body, own = append([]byte(nil), f.body...), true
		}
		f.keep = f.keep || own
		in.parted.Store(true)
		if in.inline {
			in.conn.ep.workers.Go(largeReply{in, f, m}, nil)
			return nil
		}
		return in.sendLarge(&f, m)
	}
	err := in.put(&f)
	in.conn.ep.unborrow(&f)
	return err
}

// put queues a response. Inline handlers leave the writing to the reader, which
// goes on first.
func (in *incoming) put(f *frame) error {
	in.endItems()
	if in.inline && !in.parted.Load() {
		in.conn.proto.out.putLater(f)
		return nil
	}
	// What else ends with the packet must not end before, and an ordered route's next response must not be queued before.
	f.patient = in.settled && in.strict && !in.parted.Load() && !in.route.opts.ordered()
	_, err := in.conn.proto.out.put(context.Background(), f, false)
	return err
}

// markKind adds to metadata what a body is, where the serializer didn't make it.
func markKind(meta []byte, kind bodyKind) []byte {
	switch kind {
	case bytesBody:
		return AppendMeta(meta, MetaSerializer, "", rawBytes)
	case textBody:
		return AppendMeta(meta, MetaSerializer, "", rawText)
	default:
		return meta
	}
}
