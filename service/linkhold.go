package service

import (
	"bytes"
	"slices"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// piece takes a piece of a request or message that is large. The connection may send on as there is room for a whole one.
func (l *link) piece(p *packet) {
	c := l.bySeq[p.seq]
	if c == nil || !c.joining {
		c = l.newCall(p.seq)
		c.joining = true
		l.waiting = append(l.waiting, c)
		l.admit()
	}
	c.pieces = append(c.pieces, bytes.Clone(p.payload))
	c.length += len(p.payload)
	c.owed += flow.Cost(len(p.payload))
	l.grant(c)
}

// admit gives room to those who have waited longest.
func (l *link) admit() {
	for len(l.waiting) > 0 {
		c := l.waiting[0]
		whole := l.svc.opts.maxWhole()
		if l.held > 0 && l.held+whole > l.svc.opts.MaxHeld {
			return
		}
		l.waiting = l.waiting[1:]
		c.hold = whole
		l.held += whole
		l.grant(c)
	}
}

// grant returns the credit for pieces of a call that has room.
func (l *link) grant(c *call) {
	if c.hold == 0 || c.owed == 0 {
		return
	}
	l.pipe.feed(appendCredit(nil, flyrpc.FlagStream|flyrpc.FlagResponse, c.seq, c.owed))
	c.owed = 0
}

// release gives back n bytes of what a call holds.
func (l *link) release(c *call, n int) {
	c.hold -= n
	l.held -= n
	if c.joining {
		l.stopWaiting(c)
	}
	l.admit()
}

// stopWaiting takes a call off those that wait for room.
func (l *link) stopWaiting(c *call) {
	l.waiting = slices.DeleteFunc(l.waiting, func(o *call) bool { return o == c })
}

// expire has what is offered forgotten after a while in which nobody fetches it.
func (l *link) expire(c *call, after time.Duration) {
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.expiry = time.AfterFunc(after, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case l.calls[c.id] != c:
		case c.oneWay:
			if !c.taken {
				l.svc.stats.lost.Add(1)
				l.notSent(c.subject, "it is large, and nobody has fetched it in time")
			}
			l.forget(c)
		case c.pulls <= 0: // a request, which goes on
			l.release(c, c.hold)
			c.whole = nil
		}
	})
}

// open returns how many calls are open.
func (l *link) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls)
}
