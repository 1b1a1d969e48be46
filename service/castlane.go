package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// A cast's source has one field more than others, so that handlers can tell it; cutFrom accepts none that has it already.

// castSource adds the field.
func castSource(source []byte) []byte {
	if bytes.IndexByte(source, 0) < 0 {
		source = append(source[:len(source):len(source)], 0)
	}
	return append(source[:len(source):len(source)], 0)
}

// isCastSource reports whether a source is that of a cast.
func isCastSource(source []byte) bool { return bytes.Count(source, []byte{0}) > 1 }

// isCast reports whether what a handler handles is a part of a cast: nobody waits for its answer.
func isCast(ctx *flyrpc.Context) bool { return onBus(ctx) && isCastSource(ctx.MetaEntry(metaSource)) }

// invited says that this instance takes a cast, which is expected for SendTimeout then.
func (l *lane) invited(m *Message, key callKey, path []byte) {
	err := l.b.serves(path)
	if m.Reply == "" {
		err = errors.New("it is asked who takes a stream, without a reply subject")
	}
	if err != nil {
		l.svc.malformed(m, err)
		l.refuse(m.Reply, key, flyrpc.BadRequest, err.Error())
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over || l.asked[key] != nil:
		return
	case len(l.asked) >= maxPulls:
		l.refuse(m.Reply, key, flyrpc.Busy, fmt.Sprintf("%d streams are expected already", len(l.asked)))
		return
	}
	l.asked[key] = time.AfterFunc(l.svc.opts.SendTimeout, func() { l.endInvitation(key) })
	h := header{kind: kindReady, sender: l.id, call: key.call}
	_ = l.svc.publish(&Message{Subject: m.Reply, Reply: l.inbox, Data: h.append(nil)})
}

// endInvitation takes that a cast isn't expected any more.
func (l *lane) endInvitation(key callKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropInvitation(key)
}

// dropInvitation is endInvitation with mu held.
func (l *lane) dropInvitation(key callKey) {
	if expiry := l.asked[key]; expiry != nil {
		expiry.Stop()
		delete(l.asked, key)
		l.svc.progress()
	}
}

// opensCast takes what opens the call of a cast.
func (l *lane) opensCast(m *Message, key callKey, body []byte) {
	invitation, sender, raw, err := l.cutCast(m, key, body)
	if err != nil {
		l.svc.malformed(m, err)
		return
	}
	l.mu.Lock()
	expected, open := l.asked[invitation] != nil, l.calls[key] != nil
	l.mu.Unlock()
	switch {
	case open: // it has come before
		return
	case !expected:
		l.refuse(m.Reply, key, flyrpc.Unavailable, "it isn't expected, or not any more")
		return
	}
	l.opener(m, key, raw, castSource(sender.source), nil)
	l.endInvitation(invitation)
}

// cutCast returns what opens the call of a cast, and which one.
func (l *lane) cutCast(m *Message, key callKey, body []byte) (invitation callKey, sender from, raw []byte, err error) {
	if len(body) < 8 {
		return invitation, sender, nil, errors.New("the number of the question that it answers is cut")
	}
	invitation = callKey{key.sender, binary.BigEndian.Uint64(body)}
	if sender, raw, err = cutFrom(body[8:]); err != nil {
		return invitation, sender, nil, err
	}
	const flags = byte(flyrpc.FlagWait | flyrpc.FlagStream)
	switch {
	case string(sender.serializer) != l.ser:
		err = fmt.Errorf("its serializer is %.63q, not %q", sender.serializer, l.ser)
	case len(raw) == 0 || raw[0]&flags != flags:
		err = errors.New("it isn't a call with items")
	default:
		err = CheckSubject(m.Reply, false)
	}
	return invitation, sender, raw, err
}
