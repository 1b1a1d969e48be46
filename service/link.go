package service

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// link is the calling side: it makes bus messages of the packets of a flyrpc.Client, whose connection it is, and packets for it of what
// comes back.
//
// A request is one bus message, and its reply another one, where both are small. A request that is too large
// for that is offered: whoever takes it fetches it in chunks. Everything else are packets of the call, which go to whoever has
// answered first.
type link struct {
	svc    *Service
	target string // the service that is called
	use    linkUse
	id     uint64
	prefix string // of the subjects of answers
	pipe   *pipe
	sub    Subscription

	mu      sync.Mutex
	calls   map[uint64]*call // by their ids
	bySeq   map[uint16]*call
	last    uint64 // id
	held    int    // bytes of large messages
	waiting []*call
	spent   int // credit for one-way messages that is to be given back
	buf     []byte
	out     bundle               // of what is being taken
	sent    []*call              // whose frames are in out; nil for a one-way message
	first   uint64               // the first call that out opens
	most    int                  // frames that out may have
	taking  []packet             // what the connection has written
	turn    uint64               // counts what it has
	now     time.Time            // when what is being handled has come
	from    []byte               // what stands before the packets of calls
	places  map[string]*place    // by paths that were used before
	ended   []endedCall          // lately, by their ids
	shown   map[uint64]time.Time // when a lane has shown that it may answer more than once
	watch   *time.Timer          // nil while nothing is to be watched
	over    bool
}

// call is one that is open, or a one-way message that is offered.
type call struct {
	id      uint64
	seq     uint16
	subject string
	place   *place // nil before it is sent
	reply   string // where answers go: that of the bundle that has opened it
	own     string // such a subject of this call alone; empty until it is needed
	callee  uint64 // the lane that has answered first; 0 before
	inbox   string // where frames for it go; empty before it is known
	nOut    uint32
	nIn     uint32
	guard   guard
	pending [][]byte // frames that wait for the inbox
	whole   []byte   // what is offered
	pieces  [][]byte // what has come of it
	length  int      // of pieces, in bytes
	hold    int      // what it takes of link.held
	joining bool     // more pieces come
	owed    int      // credit for pieces that is held back
	oneWay  bool
	pulls   int  // of an offer, that are under way
	taken   bool // somebody has all of the offer
	streams bool
	heard   time.Time
	probed  bool
	expiry  *time.Timer // of what is offered
	cast    *cast       // that it asks instances for; nil for all others
}

// newLink returns a link to a service and the client above it.
func newLink(s *Service, k linkKey) (*link, *flyrpc.Client, error) {
	l := &link{
		svc: s, target: k.target, use: k.use, id: newID(), calls: map[uint64]*call{}, bySeq: map[uint16]*call{},
		from: s.from().append(nil), places: map[string]*place{}, shown: map[uint64]time.Time{},
	}
	l.prefix = s.opts.InboxPrefix + "." + strconv.FormatUint(l.id, 36) + "."
	l.pipe = newPipe(l.take, l.end)
	sub, err := s.bus.Subscribe(Subscribe{Subject: l.prefix + "*", Handler: l.handle, Dropped: s.slow})
	if err != nil {
		return nil, nil, err
	}
	l.sub = sub
	c := flyrpc.NewClientConn(l.pipe, &flyrpc.ClientOpts{
		MaxMessage: s.opts.MaxMessage, StreamWindow: window, KeepaliveTime: -1, Serializer: s.opts.Serializer,
		Errors: s.opts.Errors, Logger: s.opts.Logger, Zip: s.opts.Zip, Intercept: s.opts.Intercept,
	})
	if err := c.Connect(context.Background()); err != nil {
		c.Close()
		l.pipe.Close()
		return nil, nil, err
	}
	return l, c, nil
}

// end ends the link with its connection.
func (l *link) end() {
	l.mu.Lock()
	l.over = true
	if l.watch != nil {
		l.watch.Stop()
	}
	for _, c := range l.calls {
		if c.expiry != nil {
			c.expiry.Stop()
		}
		if c.cast != nil {
			c.cast.fail(flyrpc.Errorf(flyrpc.Unavailable, "%w", ErrClosed).WithDelivery(flyrpc.NotProcessed), true)
		}
	}
	l.mu.Unlock()
	l.sub.Close()
	l.svc.lost(l)
}

// take takes what the connection writes.
func (l *link) take(ps []packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taking = ps
	l.turn++
	for i := range ps {
		l.takeOne(&ps[i])
	}
	l.post()
	l.taking = nil
}

// takeOne takes one packet.
func (l *link) takeOne(p *packet) {
	switch {
	case l.pipe.local(p):
	case p.is(flyrpc.FlagWait) && string(p.code) == helloPath:
		l.pipe.feedHello(flyrpc.FlagResponse, hello{
			Serializers: []string{l.svc.opts.Serializer.Name()},
			Message:     l.svc.opts.MaxMessage, Frame: l.svc.chunk(), Calls: maxCalls, Messages: 1 << 20,
		})
	case p.is(flyrpc.FlagStream|flyrpc.FlagWait) && string(p.code) == pieceCode:
		l.piece(p)
	case p.flag&flyrpc.FlagResponse != 0:
	case p.opens():
		l.opener(p)
	default:
		l.frame(p)
	}
}

// opener takes the packet of a request or message, or the last of one that came in pieces.
func (l *link) opener(p *packet) {
	oneWay := p.flag&flyrpc.FlagWait == 0
	if oneWay {
		l.refund(flow.Cost(len(p.payload)))
	}
	c := l.bySeq[p.seq]
	raw := p.raw
	if oneWay && (c == nil || !c.joining) && l.sendOnce(p) {
		return
	}
	if c != nil && c.joining {
		l.stopWaiting(c)
		c.joining = false
		raw = appendWhole(make([]byte, 0, c.length+len(p.raw)+lengthRoom), p, c.pieces...)
		c.pieces = nil
		l.release(c, c.hold-len(raw))
	} else {
		c = l.newCall(p.seq)
	}
	c.streams, c.oneWay, c.whole = p.flag&flyrpc.FlagStream != 0, oneWay, nil
	if oneWay { // nothing of it is open in the connection
		delete(l.bySeq, p.seq)
	}
	switch {
	case l.use == forDurable && !oneWay:
		l.store(c, string(p.code), raw)
	case l.use == forCasts:
		l.direct(c, p)
	default:
		l.send(c, p.code, raw)
	}
}

// lengthRoom is how many bytes a packet may grow by when its payload does.
const lengthRoom = 3

// appendWhole appends a packet whose payload begins with head.
func appendWhole(dst []byte, p *packet, head ...[]byte) []byte {
	n := len(p.payload)
	for _, h := range head {
		n += len(h)
	}
	dst = append(dst, byte(p.flag)|2, byte(p.seq>>8), byte(p.seq))
	dst = append(append(dst, p.code...), 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for _, h := range head {
		dst = append(dst, h...)
	}
	return append(dst, p.payload...)
}

// newCall returns a call that isn't sent yet.
func (l *link) newCall(seq uint16) *call {
	l.last++
	c := &call{id: l.last, seq: seq, guard: newGuard(true, maxFrame)}
	l.calls[c.id] = c
	if seq != 0 {
		l.bySeq[seq] = c
	}
	return c
}

// maxFrame is the largest payload of one packet that either end takes.
const maxFrame = flyrpc.DefaultMaxFrame

// frame takes a packet of a call that is open.
func (l *link) frame(p *packet) {
	c := l.bySeq[p.seq]
	if c == nil {
		return
	}
	if string(p.code) == cancelCode {
		if c.joining {
			l.fail(c, flyrpc.Canceled, "the call was cancelled before it was sent", true)
			return
		}
		l.post()
		l.drop(c, "the caller has given up")
		l.fail(c, flyrpc.Canceled, "the caller has given up", false)
		return
	}
	c.guard.sends(p)
	if c.inbox == "" {
		c.pending = append(c.pending, append([]byte(nil), p.raw...))
		return
	}
	l.more(c, p.raw)
}

// drop tells whoever has taken a call that it is given up: the one that has answered, or all instances of the service.
func (l *link) drop(c *call, why string) {
	to := c.inbox
	if to == "" {
		to = l.svc.opts.subject(l.target, controlToken)
	}
	h := header{kind: kindDrop, sender: l.id, call: c.id}
	_ = l.svc.publish(&Message{Subject: to, Data: h.append(nil, []byte(why))})
}

// fail ends a call with an error.
func (l *link) fail(c *call, code flyrpc.Code, text string, notProcessed bool) {
	if l.calls[c.id] != c {
		return
	}
	l.forget(c)
	if !c.oneWay {
		l.pipe.feed(appendError(nil, c.seq, code, text, notProcessed))
		return
	}
	l.notSent(c.subject, text)
}

// forget takes a call off the books.
func (l *link) forget(c *call) {
	delete(l.calls, c.id)
	if l.bySeq[c.seq] == c {
		delete(l.bySeq, c.seq)
	}
	if c.expiry != nil {
		c.expiry.Stop()
	}
	l.release(c, c.hold)
	c.whole, c.pieces, c.pending = nil, nil, nil
	l.remember(c)
	l.svc.progress()
}

// refund gives credit for one-way messages back.
func (l *link) refund(cost int) {
	if l.spent += cost; l.spent >= 64<<10 {
		l.pipe.feed(appendCredit(nil, flyrpc.FlagStream, 0, l.spent))
		l.spent = 0
	}
}
