package service

import (
	"fmt"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// handle takes what comes for a call of this link.
func (l *link) handle(m *Message) {
	if m.NoResponders {
		l.nobody(m.Subject)
		return
	}
	var some [usualFrames]frame
	frames, err := parseFrames(some[:0], m.Data)
	if err != nil {
		l.svc.malformed(m, err)
		return
	}
	if frames[0].kind == kindMore {
		l.pipe.await()
	}
	l.acceptAll(m, frames)
	l.pipe.wake() // without the lock, which whoever is woken is likely to want
}

// acceptAll handles the frames of a bus message, and adds what of them the connection is to read.
func (l *link) acceptAll(m *Message, frames []frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = time.Now()
	for i := range frames {
		if raw := l.accepts(m, &frames[i].header, frames[i].body); raw != nil {
			l.pipe.add(raw)
		}
	}
	l.post()
}

// unanswered ends a call that nobody was there for.
func (l *link) unanswered(c *call) {
	switch {
	case c == nil:
	case c.cast != nil:
		c.cast.fail(errNobody(c.subject), true)
	case c.oneWay:
		l.forget(c) // nobody is told of a message that nobody takes
	case c.callee != 0:
		l.fail(c, flyrpc.Unavailable, fmt.Sprintf("the instance that served %q is gone", c.subject), false)
	default:
		l.fail(c, flyrpc.Unavailable, fmt.Sprintf("nobody serves %q", c.subject), true)
	}
}

// accepts handles a frame and returns what of it the connection is to read.
func (l *link) accepts(m *Message, h *header, body []byte) []byte {
	if h.kind == kindAlive {
		l.showed(h.sender)
	}
	c := l.calls[h.call]
	if c == nil {
		l.late(m, h)
		return nil
	}
	if c.cast != nil {
		l.castAnswered(c, m, h, body)
		return nil
	}
	switch h.kind {
	case kindPull:
		l.pulled(c, m, body)
	case kindTaken:
		c.taken = true
		c.pulls--
		if c.pulls <= 0 {
			l.expire(c, min(graceTime, l.svc.opts.SendTimeout))
		}
	case kindProbe, kindAlive:
		if h.sender == c.callee && h.n > c.nIn { // what it has sent before would be here
			return l.broken(c, lostPart("answer", h.n, c.nIn), true)
		}
		if h.kind == kindProbe {
			l.answerProbe(c, m)
		} else if h.sender == c.callee {
			c.heard, c.probed = time.Now(), false
		}
	case kindDrop:
		if c.callee == 0 || h.sender == c.callee {
			l.fail(c, flyrpc.Unavailable, cutText(body), false)
		}
	case kindAccept, kindMore:
		return l.answered(c, m, h, body)
	}
	return nil
}

// graceTime is how long a large message is kept that was fetched: other instances may be about to.
const graceTime = 250 * time.Millisecond

// cutText returns a text that a peer sent, for people.
func cutText(b []byte) string { return fmt.Sprintf("the other end gave up: %.512s", b) }

// late takes what comes for a call that isn't open any more.
func (l *link) late(m *Message, h *header) {
	switch {
	case h.kind == kindMore:
		l.svc.stats.late.Add(1)
		l.hearLate(h.call, h.sender)
	case h.kind != kindAccept && h.kind != kindProbe && h.kind != kindPull && h.kind != kindReady:
		return
	}
	l.refuse(m, h, "the call has ended")
}

// refuse tells an instance that a call isn't its.
func (l *link) refuse(m *Message, h *header, why string) {
	if m.Reply == "" {
		return
	}
	d := header{kind: kindDrop, sender: l.id, call: h.call}
	_ = l.svc.publish(&Message{Subject: m.Reply, Data: d.append(nil, []byte(why))})
}

// lostPart says that frames were lost, as number n came.
func lostPart(of string, n, due uint32) string {
	return fmt.Sprintf("a part of the %s was lost on the way: number %d came where %d was due", of, n, due)
}

// answerProbe says that a call is open.
func (l *link) answerProbe(c *call, m *Message) {
	if m.Reply == "" {
		return
	}
	l.post() // which n counts
	a := header{kind: kindAlive, sender: l.id, call: c.id, n: c.nOut}
	_ = l.svc.publish(&Message{Subject: m.Reply, Data: a.append(nil)})
}

// answered takes a packet of the callee, or that it has the call. The first to answer has it.
func (l *link) answered(c *call, m *Message, h *header, body []byte) []byte {
	if c.oneWay { // an instance that doesn't take what is offered; others may
		l.svc.opts.Logger.Warn("service: a large message was refused", "subject", c.subject)
		return nil
	}
	if c.place != nil {
		c.place.hear(h.sender, l.now)
	}
	if c.callee == 0 {
		c.callee = h.sender
	} else if c.callee != h.sender {
		if h.kind == kindMore {
			l.svc.stats.late.Add(1)
		}
		l.refuse(m, h, "another instance has answered first")
		return nil
	}
	if h.n != c.nIn {
		return l.broken(c, lostPart("answer", h.n, c.nIn), true)
	}
	c.nIn++
	c.heard, c.probed = l.now, false
	if m.Reply != "" && c.inbox == "" {
		c.inbox = m.Reply
	}
	if h.kind == kindAccept {
		l.flush(c)
		return nil
	}
	p, err := wholePacket(body)
	if err == nil {
		err = c.guard.check(&p)
	}
	if err != nil {
		l.svc.malformed(m, err)
		return l.broken(c, fmt.Sprintf("the answer is malformed: %v", err), false)
	}
	l.flush(c)
	if p.is(flyrpc.FlagResponse) {
		l.forget(c)
	} else {
		l.watchOver(c)
	}
	return p.withSequence(c.seq)
}

// broken ends a call whose answer can't be read on.
func (l *link) broken(c *call, why string, lost bool) []byte {
	if lost {
		l.svc.stats.lost.Add(1)
	}
	l.drop(c, why)
	l.fail(c, flyrpc.Unavailable, why, false)
	return nil
}

// flush sends what has waited for the inbox.
func (l *link) flush(c *call) {
	if c.inbox == "" {
		return
	}
	pending := c.pending
	c.pending = nil
	for _, raw := range pending {
		if l.calls[c.id] == c {
			l.more(c, raw)
		}
	}
}

// pulled sends a range of what is offered.
func (l *link) pulled(c *call, m *Message, body []byte) {
	offset, n, err := cutRange(body, len(c.whole))
	if err != nil || m.Reply == "" || n > window {
		l.svc.malformed(m, fmt.Errorf("a pull of %d bytes: %w", n, err))
		return
	}
	if offset == 0 {
		c.pulls++
	}
	c.heard = time.Now()
	if c.oneWay {
		l.expire(c, l.svc.opts.SendTimeout)
	}
	h := header{kind: kindChunk, sender: l.id, call: c.id}
	for n > 0 {
		size := min(n, l.svc.chunk())
		l.buf = h.append(l.buf[:0], appendRange(nil, offset, size), c.whole[offset:offset+size])
		if err := l.svc.publish(&Message{Subject: m.Reply, Data: l.buf}); err != nil {
			return // it is pulled again, or given up
		}
		offset, n = offset+size, n-size
	}
}

// watchOver has a call looked after whose other end sends more than one packet.
func (l *link) watchOver(c *call) {
	c.streams = true
	if c.heard.IsZero() {
		c.heard = time.Now()
	}
	if l.watch == nil && !l.over {
		l.watch = time.AfterFunc(l.svc.opts.ProbeTime, l.probe)
	}
}

// probe asks whether the other ends of calls are there that have been silent.
func (l *link) probe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = nil
	most, more := l.svc.opts.ProbeTime, false
	for _, c := range l.calls {
		if !c.streams || c.oneWay {
			continue
		}
		more = true
		switch silent := time.Since(c.heard); {
		case silent < most:
		case c.probed || c.inbox == "":
			l.drop(c, "no answer")
			l.fail(c, flyrpc.Unavailable, fmt.Sprintf("the instance that serves %q doesn't answer for %v", c.subject, silent.Round(time.Millisecond)), false)
		default:
			c.probed = true
			h := header{kind: kindProbe, sender: l.id, call: c.id, n: c.nOut}
			_ = l.svc.publish(&Message{Subject: c.inbox, Reply: l.ownReply(c), Data: h.append(nil)})
		}
	}
	if more && !l.over {
		l.watch = time.AfterFunc(most, l.probe)
	}
}
