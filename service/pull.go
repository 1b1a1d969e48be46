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
	total int
	got   []byte
	asked int // up to where
	hold  int
	tries int // since the last chunk came
	timer *time.Timer
}

// pullTries is how many times a range is asked for when nothing comes, each for half of SendTimeout.
const pullTries = 2

// fetch begins to fetch what is offered.
func (l *lane) fetch(m *Message, key callKey, body []byte) {
	if m.Reply == "" || len(body) != 8 {
		l.svc.malformed(m, errors.New("an offer without a reply subject or a length"))
		return
	}
	total := binary.BigEndian.Uint64(body)
	if most := l.svc.opts.maxWhole() + MaxSubject + 16; total > uint64(most) {
		l.refuse(m.Reply, key, flyrpc.TooLong, fmt.Sprintf("it has %d bytes, at most %d are accepted", total, l.svc.opts.MaxMessage))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulls[key] != nil || l.calls[key] != nil || l.over {
		return
	}
	if held := l.svc.held.Add(int64(total)); held > int64(l.svc.opts.MaxHeld) {
		l.svc.held.Add(-int64(total))
		l.refuse(m.Reply, key, flyrpc.Busy, fmt.Sprintf("large messages of %d bytes are on their way already", held-int64(total)))
		return
	}
	p := &pull{key: key, m: m, total: int(total), hold: int(total)}
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
	if whole, offer := l.join(m, key, body); whole != nil {
		l.open(offer, key, whole, nil)
	}
}

// join adds a chunk. It returns the whole and its offer when it is complete.
func (l *lane) join(m *Message, key callKey, body []byte) ([]byte, *Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pulls[key]
	if p == nil {
		return nil, nil
	}
	if len(body) < 12 {
		l.svc.malformed(m, errors.New("a chunk without a range"))
		return nil, nil
	}
	offset, n, err := cutRange(body[:12], p.total)
	if err != nil || n != len(body)-12 {
		l.svc.malformed(m, fmt.Errorf("a chunk of %d bytes: %w", len(body)-12, err))
		return nil, nil
	}
	if offset != len(p.got) { // one was lost, and is asked for again, or this one has come twice
		return nil, nil
	}
	p.got = append(p.got, body[12:]...)
	p.tries = 0
	p.timer.Reset(l.svc.opts.SendTimeout / pullTries)
	if len(p.got) < p.total {
		l.ask(p)
		return nil, nil
	}
	l.endPull(p)
	h := header{kind: kindTaken, sender: l.id, call: key.call}
	_ = l.svc.publish(&Message{Subject: p.m.Reply, Data: h.append(nil)})
	return p.got, p.m
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
	if l.pulls[p.key] != p {
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
