package service

import (
	"fmt"
	"time"
)

// handle takes frames for calls of this lane.
func (l *lane) handle(m *Message, frames []frame) {
	for i := range frames {
		h, body := &frames[i].header, frames[i].body
		switch key := (callKey{h.sender, h.call}); h.kind {
		case kindChunk:
			l.chunk(m, key, body)
		case kindCast:
			l.opensCast(m, key, body)
		case kindMore:
			l.pipe.await()
			l.accepts(m, h, key, body)
		default:
			l.accepts(m, h, key, body)
		}
	}
	l.pipe.wake()
}

// accepts handles a frame, and adds what of it the connection is to read.
func (l *lane) accepts(m *Message, h *header, key callKey, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.calls[key]
	if t == nil || t.dropped {
		if h.kind == kindProbe {
			l.giveUp(m.Reply, key, "the call isn't open here")
		} else if h.kind == kindDrop {
			l.dropPull(key)
			l.dropInvitation(key)
		}
		return
	}
	t.heard, t.probed = time.Now(), false
	if (h.kind == kindProbe || h.kind == kindAlive) && h.n > t.nIn { // what the caller has sent before would be here
		l.lost(t, h.n)
		return
	}
	switch h.kind {
	case kindDrop:
		l.cancel(t)
	case kindProbe:
		if m.Reply != "" {
			a := header{kind: kindAlive, sender: l.id, call: key.call, n: t.nOut}
			_ = l.svc.publish(&Message{Subject: m.Reply, Data: a.append(nil)})
		}
	case kindMore:
		if raw := l.more(t, m, h, body); raw != nil {
			l.pipe.add(raw)
		}
	}
}

// more takes a packet of the caller.
func (l *lane) more(t *taken, m *Message, h *header, body []byte) []byte {
	if h.n != t.nIn {
		l.lost(t, h.n)
		return nil
	}
	t.nIn++
	p, err := wholePacket(body)
	if err == nil {
		err = t.guard.check(&p)
	}
	if err != nil {
		l.svc.malformed(m, err)
		l.giveUp(t.reply, t.key, fmt.Sprintf("a part of the request is malformed: %v", err))
		l.cancel(t)
		return nil
	}
	return p.withSequence(t.seq)
}

// lost ends a call of whose frames some were lost, as number n came.
func (l *lane) lost(t *taken, n uint32) {
	l.svc.stats.lost.Add(1)
	l.giveUp(t.reply, t.key, lostPart("request", n, t.nIn))
	l.cancel(t)
}

// giveUp tells a caller that its call is given up.
func (l *lane) giveUp(reply string, key callKey, why string) {
	if reply == "" {
		return
	}
	h := header{kind: kindDrop, sender: l.id, call: key.call}
	_ = l.svc.publish(&Message{Subject: reply, Data: h.append(nil, []byte(why))})
}

// dropCall takes that a caller has given a call up, wherever it was taken.
func (l *lane) dropCall(key callKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.calls[key]; t != nil {
		l.cancel(t)
	}
	l.dropPull(key)
}

// watchOver has a call looked after whose other end sends more than one packet.
func (l *lane) watchOver(t *taken) {
	t.streams = true
	if t.heard.IsZero() {
		t.heard = time.Now()
	}
	if l.watch == nil && !l.over {
		l.watch = time.AfterFunc(l.svc.opts.ProbeTime, l.probe)
	}
}

// probe asks whether callers are there that have been silent.
func (l *lane) probe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = nil
	most, more := l.svc.opts.ProbeTime, false
	for _, t := range l.calls {
		if !t.streams || t.dropped {
			continue
		}
		more = true
		switch {
		case time.Since(t.heard) < most:
		case t.probed:
			l.svc.opts.Logger.Warn("service: a caller is gone", "subject", t.reply, "silent", time.Since(t.heard))
			l.cancel(t)
		default:
			t.probed = true
			h := header{kind: kindProbe, sender: l.id, call: t.key.call, n: t.nOut}
			_ = l.svc.publish(&Message{Subject: t.reply, Reply: l.inbox, Data: h.append(nil)})
		}
	}
	if more && !l.over {
		l.watch = time.AfterFunc(most, l.probe)
	}
}

// busy reports whether calls or large messages are under way.
func (l *lane) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.over && len(l.calls)+len(l.pulls)+len(l.asked) > 0
}
