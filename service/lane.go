package service

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// lane is the serving side of a binding, for requests of one serializer: it makes packets of bus messages for a
// connection of the binding's flyrpc.Server, and bus messages of what that answers.
type lane struct {
	b       *Binding
	svc     *Service
	id      uint64
	inbox   string // where frames of its calls go
	ser     string
	pipe    *pipe
	greeted chan struct{} // closed when the connection has answered hello

	mu     sync.Mutex
	calls  map[callKey]*taken
	bySeq  map[uint16]*taken
	free   []uint16
	top    uint16 // the highest sequence that was used
	credit int    // for one-way messages
	enough chan struct{}
	pulls  map[callKey]*pull
	asked  map[callKey]*time.Timer // the invitations to casts that were taken
	watch  *time.Timer
	over   bool
	overC  chan struct{} // closed when the connection has ended
	tmp    []byte
	out    bundle   // of what is being taken
	sent   []*taken // whose frames are in out
	shown  map[uint64]time.Time
}

// callKey names a call among all on a bus.
type callKey struct{ sender, call uint64 }

// taken is a call that this instance has taken.
type taken struct {
	key     callKey
	seq     uint16
	reply   string
	nOut    uint32
	nIn     uint32
	guard   guard
	streams bool // more than one packet comes or goes
	dropped bool // nobody takes the answer any more
	cast    bool // nobody takes the answer but an error
	heard   time.Time
	probed  bool
	began   time.Time
	done    func(code flyrpc.Code) // takes the outcome instead of the caller, for a durable message
}

// messageWindow is the credit that a lane's connection gives for one-way messages: room for two of the largest.
func (o *Opts) messageWindow() int { return 2 * flow.Cost(o.maxSourced()) }

// newLane returns a lane that serves.
func newLane(b *Binding, ser string) *lane {
	l := &lane{
		b: b, svc: b.svc, id: newID(), ser: ser, calls: map[callKey]*taken{}, bySeq: map[uint16]*taken{},
		pulls: map[callKey]*pull{}, asked: map[callKey]*time.Timer{}, shown: map[uint64]time.Time{}, credit: b.svc.opts.messageWindow(), enough: make(chan struct{}, 1), overC: make(chan struct{}), greeted: make(chan struct{}),
	}
	l.inbox = b.svc.inboxPrefix + strconv.FormatUint(l.id, 36)
	l.pipe = newPipe(l.take, l.end)
	l.pipe.feedHello(flyrpc.FlagWait, hello{
		Serializers: []string{ser}, Message: b.svc.opts.MaxMessage, Frame: b.svc.chunk(), Calls: 1, Messages: 1 << 20,
	})
	return l
}

// end ends the lane with its connection, and tells those whose calls were open.
func (l *lane) end() {
	l.mu.Lock()
	l.over = true
	if l.watch != nil {
		l.watch.Stop()
	}
	for _, expiry := range l.asked {
		expiry.Stop()
	}
	pulls := l.pulls
	l.pulls, l.asked = nil, nil
	for _, p := range pulls {
		p.timer.Stop()
		l.svc.held.Add(-int64(p.hold))
		if !p.full {
			l.refuse(p.m.Reply, p.key, flyrpc.Unavailable, "the instance that fetched it was closed")
		}
	}
	for key, t := range l.calls {
		if t.done == nil && !t.dropped {
			l.giveUp(t.reply, key, "the instance was closed")
		}
	}
	l.mu.Unlock()
	close(l.overC)
	l.b.forgetLane(l)
}

// open takes what opens a call, or a one-way message, and comes alone. raw is its own memory.
func (l *lane) open(m *Message, key callKey, raw, source []byte, done func(flyrpc.Code)) {
	l.opener(m, key, raw, source, done)
	l.pipe.wake()
}

// opener is open that leaves it to the caller to wake the connection.
func (l *lane) opener(m *Message, key callKey, raw, source []byte, done func(flyrpc.Code)) {
	p, err := wholePacket(raw)
	if err == nil {
		err = l.checkOpener(m, &p, done != nil)
	}
	if err != nil {
		l.svc.malformed(m, err)
		if m.Reply != "" {
			l.refuse(m.Reply, key, flyrpc.BadRequest, err.Error())
		}
		if done != nil {
			go done(flyrpc.BadRequest)
		}
		return
	}
	l.b.stats.requests.Add(1)
	if p.flag&flyrpc.FlagWait == 0 {
		l.message(&p, source)
		return
	}
	t := l.admit(m, key, done)
	if t == nil {
		return
	}
	t.cast = isCastSource(source) // nothing is answered before it is fed
	l.pipe.await()
	l.pipe.addFrom(&p, t.seq, source)
	if p.flag&flyrpc.FlagStream != 0 {
		l.accept(t)
	}
}

// accept tells the caller of a call with items that it is taken. What it sends then comes behind what has opened the call.
func (l *lane) accept(t *taken) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[t.key] == t && !t.dropped {
		l.pipe.wake()
		l.send(t, kindAccept, nil, true)
		l.post()
		l.watchOver(t)
	}
}

// admit gives a request a sequence. It returns nil if there is none, or the request has come before.
func (l *lane) admit(m *Message, key callKey, done func(flyrpc.Code)) *taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[key] != nil || done == nil && l.svc.givenUp.contains(key) {
		return nil
	}
	if len(l.bySeq) >= l.svc.opts.MaxCalls || l.over {
		l.refuse(m.Reply, key, flyrpc.Busy, fmt.Sprintf("%d requests are being handled", len(l.bySeq)))
		if done != nil {
			go done(flyrpc.Busy)
		}
		return nil
	}
	t := &taken{key: key, reply: m.Reply, guard: newGuard(false, maxFrame), began: time.Now(), done: done}
	if n := len(l.free); n > 0 {
		t.seq = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		l.top++
		t.seq = l.top
	}
	l.calls[key], l.bySeq[t.seq] = t, t
	return t
}

// checkOpener says what is wrong with what opens a call.
func (l *lane) checkOpener(m *Message, p *packet, durable bool) error {
	switch {
	case p.flag&(flyrpc.FlagResponse|flyrpc.FlagZipCode) != 0, p.is(flyrpc.FlagStream):
		return fmt.Errorf("a call is opened with the flags %#x", uint8(p.flag))
	case p.flag&flyrpc.FlagWait != 0 && m.Reply == "" && !durable:
		return fmt.Errorf("a request to %q has no reply subject", m.Subject)
	case len(p.code) == 0 || p.code[0] < ' ' || string(p.code) == pieceCode && p.flag&flyrpc.FlagStream != 0:
		return fmt.Errorf("the path %.40q is none", p.code)
	case len(p.payload) > l.svc.opts.maxWhole():
		return fmt.Errorf("it has %d bytes, at most %d are accepted", len(p.payload), l.svc.opts.maxWhole())
	case len(p.code) >= 4 && string(p.code[:4]) == "fly.":
		return fmt.Errorf("the path %.40q is FlyRPC's own", p.code)
	}
	return l.b.serves(p.code)
}

// refuse answers a call that isn't taken.
func (l *lane) refuse(reply string, key callKey, code flyrpc.Code, text string) {
	if reply == "" {
		return
	}
	h := header{kind: kindMore, sender: l.id, call: key.call}
	_ = l.svc.publish(&Message{Subject: reply, Data: h.append(nil, appendError(nil, 0, code, text, !l.b.shared()))})
}

// message feeds a one-way message, when the connection takes more.
func (l *lane) message(p *packet, source []byte) {
	cost := flow.Cost(p.sizeFrom(source))
	for !l.spend(cost) {
		l.pipe.wake()
		select {
		case <-l.enough:
		case <-l.overC:
			return
		}
	}
	poke(l.enough) // there may be enough for another one that waits
	l.pipe.await()
	l.pipe.addFrom(p, 0, source)
}

// spend takes credit for a one-way message.
func (l *lane) spend(cost int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cost > l.credit {
		return false
	}
	l.credit -= cost
	return true
}

// take takes what the connection writes.
func (l *lane) take(ps []packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range ps {
		if !l.pipe.local(&ps[i]) {
			l.takeOne(&ps[i])
		}
	}
	l.post()
}

// takeOne takes a packet.
func (l *lane) takeOne(p *packet) {
	select {
	case <-l.greeted:
	default:
		close(l.greeted)
		return
	}
	switch {
	case p.is(flyrpc.FlagStream) && p.seq == 0 && string(p.code) == creditCode:
		if n, err := p.creditOf(); err == nil {
			l.credit += n
			poke(l.enough)
		}
	case p.flag&flyrpc.FlagResponse == 0 && p.flag&flyrpc.FlagWait != 0:
		l.pipe.feed(appendError(nil, p.seq, flyrpc.BadRequest, "a handler can't call its caller over a bus: use Service.Service", true))
	case p.flag&flyrpc.FlagResponse != 0:
		l.answer(p)
	}
}

// answer takes a packet of a call.
func (l *lane) answer(p *packet) {
	t := l.bySeq[p.seq]
	if t == nil {
		return
	}
	final := p.flag&flyrpc.FlagStream == 0
	if final { // whoever has the answer finds it counted
		l.b.stats.note(time.Since(t.began), p)
	}
	unheard := !final && (t.done != nil || t.cast) && string(p.code) != creditCode // nobody takes items
	if t.done == nil && !t.dropped && !unheard {
		if final && t.cast && len(p.code) == 0 { // nor what is returned
			*p = packet{flag: flyrpc.FlagResponse}
			p.raw = appendWhole(nil, p)
		}
		t.guard.sends(p)
		raw := p.raw
		if final && len(p.code) > 0 && p.flag&flyrpc.FlagMeta != 0 && l.b.shared() {
			p.dropMeta(flyrpc.MetaNotProcessed)
			raw = appendWhole(nil, p)
		}
		l.send(t, kindMore, raw, !final)
	}
	switch {
	case final:
		delete(l.bySeq, t.seq)
		delete(l.calls, t.key)
		l.free = append(l.free, t.seq)
		if t.done != nil {
			go t.done(flyrpc.Code(p.code))
		}
		l.svc.progress()
	case unheard:
		l.pipe.feed(appendCredit(nil, flyrpc.FlagStream, t.seq, flow.Cost(len(p.payload))))
	case !t.dropped:
		l.watchOver(t)
	}
}

// send adds a frame of a call to those that post sends. more says that the caller may have something to say to it.
func (l *lane) send(t *taken, k kind, raw []byte, more bool) {
	o := &l.out
	if o.frames > 0 && !(l.sent[0].sameInbox(t) && o.room(len(raw), l.svc.bus.MaxPayload())) {
		l.post()
	}
	if o.frames == 0 {
		o.subject, o.reply = t.reply, ""
	}
	if more {
		o.reply = l.inbox
	}
	o.add(&header{kind: k, sender: l.id, call: t.key.call, n: t.nOut}, raw)
	t.nOut++
	l.sent = append(l.sent, t)
}

// sameInbox reports whether the answers of two calls go to one link: their reply subjects differ in the last tokens alone, which by itself doesn't
// say it, for those that come from other accounts of NATS are all alike.
func (t *taken) sameInbox(o *taken) bool {
	a, b := t.reply, o.reply
	i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
	return t.key.sender == o.key.sender && i == j && i > 0 && a[:i] == b[:j]
}

// post sends the frames that were gathered.
func (l *lane) post() {
	if l.out.frames == 0 {
		return
	}
	lost := 0
	err := l.out.publish(l.svc, func(i int, _ error) {
		lost++
		if t := l.sent[i]; l.calls[t.key] == t {
			l.cancel(t)
		}
	})
	if err != nil {
		l.svc.opts.Logger.Warn("service: answers were not sent", "subject", l.out.subject, "frames", lost, "error", err)
	} else {
		l.show(l.sent[0].key)
	}
	clear(l.sent)
	l.sent = l.sent[:0]
}

// show sends a second message to the reply subject that an answer to a call has just gone to, from time to time. A link that gets it knows that
// one may be answered more than once, which a bus may not allow, and that requests may have one together.
func (l *lane) show(key callKey) {
	now := time.Now()
	if last, ok := l.shown[key.sender]; ok && now.Sub(last) < showTime {
		return
	}
	if len(l.shown) >= maxShown {
		clear(l.shown)
	}
	l.shown[key.sender] = now
	h := header{kind: kindAlive, sender: l.id, call: key.call}
	_ = l.svc.publish(&Message{Subject: l.out.subject, Data: h.append(nil)})
}

// cancel ends the handler's context of a call whose answer nobody takes.
func (l *lane) cancel(t *taken) {
	if t.dropped {
		return
	}
	t.dropped = true
	b, _ := flyrpc.AppendPacket(nil, &flyrpc.Packet{Flag: flyrpc.FlagStream, Sequence: t.seq, Code: cancelCode})
	l.pipe.feed(b)
}
