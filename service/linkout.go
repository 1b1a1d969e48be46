package service

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

const (
	// maxPaths is how many paths a link remembers the subjects of.
	maxPaths = 1 << 10
	// maxEnded is how many calls a link remembers that have ended: as many as an instance handles at once, unless it is told otherwise.
	maxEnded = flyrpc.DefaultMaxCalls
	// maxOpeners is the most requests and messages that travel together, for all of them go to one instance of a queue.
	maxOpeners = 16
	// perInstance is the least number of bundles for each instance that what waits is spread over.
	perInstance = 4
	// heardTime is how long an instance counts as there that has answered.
	heardTime = 10 * time.Second
	// showTime is how often an instance shows a link that a reply subject may get more than one message, and shownTime how long that holds. Each remembers
	// maxShown of the others.
	showTime  = time.Minute
	shownTime = 3 * time.Minute
	maxShown  = 1 << 10
	// manyMark is what stands before the number in the reply subject of a bundle of requests: that of the first of them.
	manyMark = "+"
)

// place is where calls of a path go.
type place struct {
	path    string
	subject string
	lanes   []heardLane // those that have answered lately
	own     error       // it is FlyRPC's
	queued  int         // how many calls of the path are being taken, as counted in
	turn    uint64      // this turn of the link
}

// heardLane is a lane that has answered, and when it last did.
type heardLane struct {
	id uint64
	at time.Time
}

// hear notes who has answered. More than maxFrames aren't told apart.
func (p *place) hear(lane uint64, now time.Time) {
	for i := range p.lanes {
		if p.lanes[i].id == lane {
			p.lanes[i].at = now
			return
		}
	}
	if len(p.lanes) < maxFrames {
		p.lanes = append(p.lanes, heardLane{lane, now})
	}
}

// endedCall is a call that has ended, and where it had gone.
type endedCall struct {
	id    uint64
	place *place
}

// remember notes a call that has ended.
func (l *link) remember(c *call) {
	if l.ended == nil {
		l.ended = make([]endedCall, maxEnded)
	}
	l.ended[c.id%maxEnded] = endedCall{c.id, c.place}
}

// hearLate notes who has answered a call that another instance had answered before, or that was given up: it is one of those that take what goes there.
func (l *link) hearLate(id, lane uint64) {
	if l.ended == nil {
		return
	}
	if e := &l.ended[id%maxEnded]; e.id == id && e.place != nil {
		e.place.hear(lane, l.now)
	}
}

// showed notes that a reply subject may get more than one message of a lane.
func (l *link) showed(lane uint64) {
	if len(l.shown) >= maxShown {
		clear(l.shown)
	}
	l.shown[lane] = l.now
}

// share returns how many of so many requests of a path that wait may travel together: as many as don't make the work of the instances more uneven
// than by a part of it, and one if no instance is known, or one that isn't known to answer more than once.
func (l *link) share(p *place, queued int) int {
	if queued == 1 || len(p.lanes) == 0 {
		return 1
	}
	now := time.Now()
	p.lanes = slices.DeleteFunc(p.lanes, func(h heardLane) bool { return now.Sub(h.at) > heardTime })
	for _, h := range p.lanes {
		if shown, ok := l.shown[h.id]; !ok || now.Sub(shown) > shownTime {
			return 1
		}
	}
	switch n := len(p.lanes); n {
	case 0:
		return 1
	case 1:
		return maxOpeners
	default:
		return max(1, min(maxOpeners, queued/(perInstance*n)))
	}
}

// place returns where calls of a path go.
func (l *link) place(path []byte) *place {
	if p := l.places[string(path)]; p != nil {
		return p
	}
	if len(l.places) >= maxPaths {
		clear(l.places)
	}
	p := &place{path: string(path)}
	within := SubjectOf(p.path)
	p.subject, p.own = l.svc.opts.subject(l.target, within), errOwnToken(within)
	l.places[p.path] = p
	return p
}

// queued returns how many calls of a path are being taken.
func (l *link) queued(p *place) int {
	switch {
	case len(l.taking) == 1:
		return 1
	case p.turn == l.turn:
		return p.queued
	}
	p.queued, p.turn = 0, l.turn
	for i := range l.taking {
		if t := &l.taking[i]; t.opens() && string(t.code) == p.path {
			p.queued++
		}
	}
	return p.queued
}

// fits reports whether a packet that opens a call goes as one message.
func (l *link) fits(raw []byte) bool { return headerLen+len(l.from)+len(raw) <= l.svc.bus.MaxPayload() }

// sendOnce sends a one-way message that goes as one, and reports whether it is such.
func (l *link) sendOnce(p *packet) bool {
	if !l.fits(p.raw) {
		return false
	}
	l.last++
	l.opens(l.place(p.code), nil, l.last, p.raw)
	return true
}

// notSent says that a one-way message is lost.
func (l *link) notSent(subject, why string) {
	l.svc.opts.Logger.Warn("service: a message was not sent", "subject", subject, "error", why)
}

// send sends what opens a call, or offers it.
func (l *link) send(c *call, path, raw []byte) {
	c.place = l.place(path)
	c.subject = c.place.subject
	switch {
	case c.place.own != nil: // all instances listen, and none would answer
		l.fail(c, flyrpc.BadRequest, c.place.own.Error(), true)
		return
	case !l.fits(raw):
		if err := l.offer(c, raw); err != nil {
			l.fail(c, codeOf(err), err.Error(), true)
			return
		}
	case c.oneWay:
		l.opens(c.place, nil, c.id, raw)
		l.forget(c)
		return
	default:
		l.opens(c.place, c, c.id, raw)
	}
	if c.streams {
		l.watchOver(c)
	}
}

// offer offers what is too large for one message.
func (l *link) offer(c *call, raw []byte) error {
	l.post()
	c.whole = raw
	if c.hold == 0 {
		c.whole = append([]byte(nil), raw...)
		c.hold = len(raw)
		l.held += c.hold
	}
	c.reply = l.ownReply(c)
	if c.oneWay {
		l.expire(c, l.svc.opts.SendTimeout)
	}
	h := header{kind: kindOffer, sender: l.id, call: c.id}
	l.buf = h.append(l.buf[:0], binary.BigEndian.AppendUint64(nil, uint64(len(raw))), l.from)
	return l.svc.publish(&Message{Subject: c.subject, Reply: c.reply, Data: l.buf})
}

// opens sends what opens a call, or a one-way message, whose call is nil.
func (l *link) opens(p *place, c *call, id uint64, raw []byte) {
	if c != nil && l.out.reply != "" && c.id-l.first >= maxFrames { // nobody couldn't find it
		l.post()
	}
	l.begin(kindOpen, p.subject, len(l.from)+len(raw))
	if l.out.frames == 0 {
		l.most, l.out.reply = l.share(p, l.queued(p)), ""
	}
	if c != nil {
		switch {
		case l.out.reply != "":
		case l.most == 1:
			l.first, l.out.reply = id, l.ownReply(c)
		default:
			l.first, l.out.reply = id, l.replyTo(manyMark, id)
		}
		c.reply = l.out.reply
	}
	l.join(c, &header{kind: kindOpen, sender: l.id, call: id}, l.from, raw)
}

// more sends a packet of a call.
func (l *link) more(c *call, raw []byte) {
	reply := l.ownReply(c)
	if l.out.reply != reply {
		l.post()
	}
	l.begin(kindMore, c.inbox, len(raw))
	if l.out.frames == 0 {
		l.most, l.out.reply = maxFrames, reply
	}
	l.join(c, &header{kind: kindMore, sender: l.id, call: c.id, n: c.nOut}, raw)
	c.nOut++
}

// begin sends what is gathered, unless a frame whose body has n bytes may go with it.
func (l *link) begin(k kind, subject string, n int) {
	o := &l.out
	if o.frames > 0 && (o.kind != k || o.subject != subject || o.frames >= l.most || !o.room(n, l.svc.bus.MaxPayload())) {
		l.post()
	}
	o.kind, o.subject = k, subject
}

// join adds a frame to what is gathered.
func (l *link) join(c *call, h *header, parts ...[]byte) {
	l.out.add(h, parts...)
	l.sent = append(l.sent, c)
}

// post sends what is gathered.
func (l *link) post() {
	if l.out.frames == 0 {
		return
	}
	_ = l.out.publish(l.svc, func(i int, err error) {
		if c := l.sent[i]; c != nil {
			l.fail(c, codeOf(err), err.Error(), l.out.kind == kindOpen || l.out.kind == kindCast)
		} else {
			l.notSent(l.out.subject, err.Error())
		}
	})
	clear(l.sent)
	l.sent, l.out.reply = l.sent[:0], ""
}

// replyTo returns a subject of this link's.
func (l *link) replyTo(mark string, id uint64) string {
	l.buf = strconv.AppendUint(append(append(l.buf[:0], l.prefix...), mark...), id, 36)
	return string(l.buf)
}

// ownReply returns the reply subject of a call alone.
func (l *link) ownReply(c *call) string {
	if c.own == "" {
		c.own = l.replyTo("", c.id)
	}
	return c.own
}

// nobody ends the calls that nobody was there for, which a reply subject is that of.
func (l *link) nobody(reply string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, many := strings.CutPrefix(strings.TrimPrefix(reply, l.prefix), manyMark)
	first, err := strconv.ParseUint(number, 36, 64)
	if err != nil {
		return
	}
	if !many {
		l.unanswered(l.calls[first])
		return
	}
	for i := range uint64(maxFrames) {
		if c := l.calls[first+i]; c != nil && c.reply == reply {
			l.unanswered(c)
		}
	}
}
