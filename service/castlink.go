package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// castKey is the metadata by which the call of a member tells the link where it goes. It isn't sent.
const castKey = "\x02cast"

// castTarget is its value: the number of what the instance has said yes to, and its inbox.
func castTarget(invitation uint64, inbox string) string {
	return strconv.FormatUint(invitation, 36) + " " + inbox
}

// ask asks who takes a cast.
func (l *link) ask(s *cast) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return ErrClosed
	}
	c := l.newCall(0)
	c.cast, s.invite = s, c
	c.subject = l.place([]byte(s.path)).subject
	reply := l.ownReply(c)
	h := header{kind: kindInvite, sender: l.id, call: c.id}
	l.buf = h.append(l.buf[:0], l.from, []byte(s.path))
	err := l.svc.publish(&Message{Subject: c.subject, Reply: reply, Data: l.buf})
	if err != nil {
		l.forget(c)
	}
	return err
}

// endAsking has nobody join any more.
func (l *link) endAsking(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[c.id] == c {
		l.forget(c)
	}
}

// castAnswered takes what an instance says that was asked.
func (l *link) castAnswered(c *call, m *Message, h *header, body []byte) {
	switch h.kind {
	case kindReady:
		if err := CheckSubject(m.Reply, false); err != nil {
			l.svc.malformed(m, err)
		} else if !c.cast.join(h.sender, m.Reply) {
			l.refuse(m, h, "it comes too late")
		}
	case kindMore:
		p, err := wholePacket(body)
		s, ok := p.sourced(nil, nil)
		if err == nil && (!ok || len(p.code) == 0) {
			err = errors.New("it is no error")
		}
		if err != nil {
			l.svc.malformed(m, fmt.Errorf("the answer to the question who takes a stream is malformed: %w", err))
			return
		}
		c.cast.fail(flyrpc.Errorf(flyrpc.Code(p.code), "%.1000s", s.body).WithDelivery(flyrpc.NotProcessed), false)
	}
}

// direct sends the request of a member to its instance.
func (l *link) direct(c *call, p *packet) {
	invitation, inbox, _ := strings.Cut(p.cutKey(castKey), " ")
	n, err := strconv.ParseUint(invitation, 36, 64)
	if err != nil {
		l.fail(c, flyrpc.BadRequest, "the metadata of Send was taken away on its way", true)
		return
	}
	c.subject = inbox
	raw, number := appendWhole(nil, p), binary.BigEndian.AppendUint64(nil, n)
	if !l.fits(append(number, raw...)) {
		l.fail(c, flyrpc.TooLong, "the metadata is too large for a message of the bus", true)
		return
	}
	l.begin(kindCast, inbox, len(number)+len(l.from)+len(raw))
	l.most, l.out.reply = 1, l.ownReply(c)
	l.join(c, &header{kind: kindCast, sender: l.id, call: c.id}, number, l.from, raw)
	l.watchOver(c)
}

// cutKey removes the entries of a key from a packet's metadata, and returns the value of the last.
func (p *packet) cutKey(key string) (value string) {
	p.keepMeta(func(e flyrpc.MetaEntry) bool {
		if e.ID != flyrpc.MetaKey || string(e.Key) != key {
			return true
		}
		value = string(e.Value)
		return false
	})
	return value
}
