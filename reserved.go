package flyrpc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// reserved takes a request or message whose path is FlyRPC's own.
func (c *Conn) reserved(p *received) error {
	wait := p.flag&FlagWait != 0
	switch path := string(p.code); {
	case path == pingPath && wait:
		return c.pong(p)
	case path == helloPath && wait:
		return c.reject(p.seq, Conflict, "hello was said already, or by the wrong end")
	case path == byePath && !wait:
		c.saidBye(p)
		return nil
	case path == byePath && c.datagram != nil:
		c.saidBye(p)
		return c.proto.out.putOwn(&frame{flag: FlagResponse, seq: p.seq})
	case wait:
		return c.reject(p.seq, NotFound, fmt.Sprintf("no handler for %q", path))
	}
	return nil
}

// maxPing is the longest ping in bytes.
const maxPing = 1 << 10

// pong answers a ping with its own payload.
func (c *Conn) pong(p *received) error {
	_, data, err := splitMeta(p.flag, p.payload)
	if err != nil {
		return c.reject(p.seq, BadRequest, err.Error())
	}
	if len(data) > maxPing {
		return c.reject(p.seq, TooLong, fmt.Sprintf("a ping has at most %d bytes, this one %d", maxPing, len(data)))
	}
	if len(data) == 0 && c.mode.Load().v1 {
		data = make([]byte, 1)
	}
	if !c.mode.Load().v1 && !c.in.isFree(p.seq) {
		return c.tooManyCalls(p.seq)
	}
	return c.proto.out.putOwn(&frame{flag: FlagResponse, seq: p.seq, body: data})
}

// byeMessage is the payload of bye, which is empty if there is nothing to say.
type byeMessage struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// sayBye asks the other end to open no new calls here and tells it why.
func (c *Conn) sayBye(err error) {
	m := c.settled()
	if m.foreign {
		return
	}
	w := c.ep.errors.toWire(err)
	c.fitError(&w)
	payload, jsonErr := json.Marshal(byeMessage{w.code, w.message})
	if jsonErr != nil {
		return
	}
	if m.packet > 0 && len(payload) > m.maxFrame-len(byePath) { // JSON has made it longer
		payload, _ = json.Marshal(byeMessage{Unavailable, "the other end said bye, and why doesn't fit a datagram"})
	}
	f := frame{code: byePath, body: payload}
	if m.packet > 0 { // a request isn't lost
		s, err := c.calls.acquirePing()
		if err != nil {
			return
		}
		c.calls.leavePing(s)
		c.datagram.bye.Store(&payload)
		f.flag, f.seq = FlagWait, s.seq
	}
	_ = c.proto.out.putNow(&f)
}

// saidBye takes a bye: no new call is opened; those that are open go on.
func (c *Conn) saidBye(p *received) {
	var b byeMessage
	_, data, err := splitMeta(p.flag, p.payload)
	if err != nil || json.Unmarshal(data, &b) != nil || b.Code == "" {
		b = byeMessage{Unavailable, "the other end said bye"}
	}
	e := &Error{Code: b.Code, Message: b.Message, remote: true, delivery: NotProcessed, cause: c.ep.errors.errorOf(b.Code)}
	c.bye.CompareAndSwap(nil, e)
	unsent := *e
	unsent.delivery = NotSent
	c.calls.stop(&unsent)
	c.proto.out.refuseRequests(&unsent)
	c.tellSpent()
}

// byeHeard waits, for wait at most, until all requests have come that the other end had
// sent when it read this end's bye: so they are served or refused, and none is
// lost unanswered. Its answer to the first ping may overtake them; the one to the second can't.
func (c *Conn) byeHeard(ctx context.Context, wait time.Duration) {
	if c.settled().foreign {
		return
	}
	if c.datagram != nil { // nothing is in order: bye itself is answered
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		c.awaitIdle(ctx, c.calls.pinging)
		return
	}
	until := time.Now().Add(wait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	for range 2 {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if _, err := c.ping(context.Background(), 0, left); err != nil {
			return
		}
	}
}

// isReserved reports whether a path is FlyRPC's own.
func isReserved(path []byte) bool {
	return len(path) >= len(reservedPrefix) && string(path[:len(reservedPrefix)]) == reservedPrefix
}
