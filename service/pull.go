package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// pull is a large request or message that is being fetched, in chunks, from who has offered it.
type pull struct {
	key   callKey
	m     *Message // the offer
	from  []byte   // its source
	total int
	got   []byte
	asked int // up to where
	hold  int
	tries int // since the last chunk came
	timer *time.Timer
	full  bool // all has come, and waits to be handled
}

// maxPulls is how many large messages are on their way to a binding, in one serializer.
const maxPulls = 1 << 10

// pullTries is how many times a range is asked for when nothing comes, each for half of SendTimeout.
const pullTries = 2

// fetch begins to fetch what is offered.
func (l *lane) fetch(m *Message, key callKey, body, source []byte) {
	if m.Reply == "" || len(body) != 8 {
		l.svc.malformed(m, errors.New("an offer without a reply subject or a length"))
		return
	}
	total := binary.BigEndian.Uint64(body)
	if total == 0 {
		l.svc.malformed(m, errors.New("an offer of nothing"))
		return
	}
	if most := l.svc.opts.maxWhole() + MaxSubject + 16; total > uint64(most) {
		l.refuse(m.Reply, key, flyrpc.TooLong, fmt.Sprintf("it has %d bytes, at most %d are accepted", total, l.svc.opts.MaxMessage))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulls[key] != nil || l.calls[key] != nil || l.over || l.svc.givenUp.contains(key) {
		return
	}
	if len(l.pulls) >= maxPulls {
		l.refuse(m.Reply, key, flyrpc.Busy, fmt.Sprintf("%d large messages are on their way already", len(l.pulls)))
		return
	}
	if held := l.svc.held.Add(int64(total)); held > int64(l.svc.opts.MaxHeld) {
		l.svc.held.Add(-int64(total))
		l.refuse(m.Reply, key, flyrpc.Busy, fmt.Sprintf("large messages of %d bytes are on their way already", held-int64(total)))
		return
	}
	p := &pull{key: key, m: m, from: source, total: int(total), hold: int(total)}
	p.timer = time.AfterFunc(l.svc.opts.SendTimeout/pullTries, func() { l.late(p) })
	l.pulls[key] = p
	l.ask(p)
}

// ask asks for what comes next, a window at a time.
func (l *lane) ask(p *pull) {
	if p.asked < len(p.got) || p.asked-len(p.got) > window/4 || p.asked == p.total {
		return
	}
	n := min(p.total-p.asked, window/2)
	if p.asked == 0 {
		n = min(p.total, window)
	}
	l.pullRange(p, p.asked, n)
	p.asked += n
}

// pullRange asks for a range.
func (l *lane) pullRange(p *pull, offset, n int) {
	h := header{kind: kindPull, sender: l.id, call: p.key.call}
	l.tmp = h.append(l.tmp[:0], appendRange(nil, offset, n))
	_ = l.svc.publish(&Message{Subject: p.m.Reply, Reply: l.inbox, Data: l.tmp})
}

// chunk takes a chunk, and opens the call when it is the last.
func (l *lane) chunk(m *Message, key callKey, body []byte) {
	p := l.join(m, key, body)
	switch {
	case p == nil:
	case flyrpc.Flag(p.got[0])&flyrpc.FlagWait != 0:
		l.endPullOf(p)
		l.open(p.m, key, p.got, p.from, nil)
	default:
		go func() { // it may wait for handlers, and this is where the chunks of all bindings come
			l.open(p.m, key, p.got, p.from, nil)
			l.endPullOf(p)
		}()
	}
}

// join adds a chunk. It returns the pull when it is complete.
func (l *lane) join(m *Message, key callKey, body []byte) *pull {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pulls[key]
	if p == nil || p.full {
		return nil
	}
	if len(body) < 12 {
		l.svc.malformed(m, errors.New("a chunk without a range"))
		return nil
	}
	offset, n, err := cutRange(body[:12], p.total)
	if err != nil || n != len(body)-12 {
		l.svc.malformed(m, fmt.Errorf("a chunk of %d bytes: %w", len(body)-12, err))
		return nil
	}
	if offset != len(p.got) { // one was lost, and is asked for again, or this one has come twice
		return nil
	}
	if p.got == nil { // what it takes is on the books already
		p.got = make([]byte, 0, p.total)
	}
	p.got = append(p.got, body[12:]...)
	p.tries = 0
	p.timer.Reset(l.svc.opts.SendTimeout / pullTries)
	if len(p.got) < p.total {
		l.ask(p)
		return nil
	}
	p.full = true
	p.timer.Stop()
	h := header{kind: kindTaken, sender: l.id, call: key.call}
	_ = l.svc.publish(&Message{Subject: p.m.Reply, Data: h.append(nil)})
	return p
}

// endPullOf takes a pull off the books, unless it was.
func (l *lane) endPullOf(p *pull) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulls[p.key] == p {
		l.endPull(p)
	}
}

// endPull takes a pull off the books.
func (l *lane) endPull(p *pull) {
	p.timer.Stop()
	delete(l.pulls, p.key)
	l.svc.held.Add(-int64(p.hold))
	l.svc.progress()
}

// dropPull ends the pull of a call that was given up.
func (l *lane) dropPull(key callKey) {
	if p := l.pulls[key]; p != nil {
		l.endPull(p)
	}
}

// late asks once more for what doesn't come, or gives up.
func (l *lane) late(p *pull) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulls[p.key] != p || p.full {
		return
	}
	if p.tries++; p.tries < pullTries {
		p.asked = min(p.total, len(p.got)+window/2)
		l.pullRange(p, len(p.got), p.asked-len(p.got))
		p.timer.Reset(l.svc.opts.SendTimeout / pullTries)
		return
	}
	l.svc.stats.lost.Add(1)
	l.endPull(p)
	why := fmt.Sprintf("a large message was lost on the way: %d of %d bytes came, and nothing for %v", len(p.got), p.total, l.svc.opts.SendTimeout)
	l.svc.opts.Logger.Warn("service: "+why, "subject", p.m.Subject)
	l.refuse(p.m.Reply, p.key, flyrpc.Unavailable, why)
}
