package flyrpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/internal/flow"
	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// Broadcast sends a message to path at every connection that Conns returns. It
// doesn't wait: connections that have too much queued already, take no more messages now, or are gone, are left
// out, and each is reported by an Error, not sent, in the joined error that it returns. A message that has to go
// in pieces is sent to each connection as that takes them, one broadcast after the other, for WriteTimeout at most.
func (s *Server) Broadcast(path string, message any) error {
	encoded := map[broadcastKey]*castFrame{}
	var errs []error
	for _, c := range s.Conns() {
		if err := c.cast(encoded, path, message); err != nil {
			errs = append(errs, fmt.Errorf("connection %d (%s): %w", c.id, addrString(c.RemoteAddr()), err))
		}
	}
	return errors.Join(errs...)
}

// broadcastKey tells apart the forms in which a broadcast is sent.
type broadcastKey struct {
	serializer string
	v1         bool
	zip        compress.Method
	minZip     int
	zipCode    compress.Method
	learns     bool
	json       bool
}

// castFrame is a broadcast in one form.
type castFrame struct {
	frame
	plain int // bytes of body before compression
}

// cast sends a broadcast to one connection, encoding it if no other connection had
// the same form.
func (c *Conn) cast(encoded map[broadcastKey]*castFrame, path string, message any) error {
	m := c.settled()
	key := broadcastKey{m.ser.Name(), m.v1, m.zipBody, m.minZip, m.zipCode, m.codes > 0, m.json}
	f := encoded[key]
	if f == nil {
		f = &castFrame{frame: frame{code: path, path: true}}
		call := &Outgoing{Conn: c, Path: path, Message: message, OneWay: true}
		_, plain, err := c.compose(context.Background(), m, call, &f.frame, new(encBuf), nil)
		if err != nil {
			return err
		}
		f.plain = plain
		f.lent = nil // it is never free again
		if !f.keep { // it may be sent later
			f.body, f.keep = append([]byte(nil), f.body...), true
		}
		encoded[key] = f
	}
	if f.plain > m.maxMessage {
		return localErr(TooLong, NotSent, nil, "the message has %d bytes, the other end accepts %d", f.plain, m.maxMessage)
	}
	if err := m.fits(&f.frame); err != nil {
		return err
	}
	if c.castFrame(m, f.frame) {
		return nil
	}
	select {
	case <-c.done:
		return notSent(c.lostError(c.reason))
	default:
		return localErr(Busy, NotSent, nil, "the other end doesn't read, or doesn't take messages as fast as they come: %d bytes may be queued, and %d be sent ahead",
			c.ep.limits.maxQueued, m.messages)
	}
}

// castFrame sends a message, unless it would have to wait.
func (c *Conn) castFrame(m *mode, f frame) bool {
	if m.packet > 0 {
		s := c.calls.tryAcquire()
		if s == nil {
			return false
		}
		defer c.calls.withdraw(s)
		f.seq = s.seq
	}
	if m.whole {
		return c.proto.out.tryPut(&f)
	}
	if f.size() > m.messagePart() {
		if c.Err() != nil || !c.casting.CompareAndSwap(false, true) {
			return false
		}
		c.ep.workers.Go(castTask{c, m, f}, nil)
		return true
	}
	cost := flow.Cost(f.size())
	if !c.messages.trySpend(cost) {
		return false
	}
	if !c.proto.out.tryPut(&f) {
		c.messages.refund(cost)
		return false
	}
	return true
}

// castTask sends a large broadcast to one connection.
type castTask struct {
	c *Conn
	m *mode
	f frame
}

// Run sends it.
func (t castTask) Run(*pool.Worker) {
	defer t.c.casting.Store(false)
	ctx, cancel := context.WithTimeout(t.c.context(), t.c.ep.limits.writeTimeout)
	defer cancel()
	if err := t.c.message(ctx, t.m, &t.f); err != nil {
		t.c.ep.log.Debug("flyrpc: broadcast not sent to its end", "conn", t.c.id, "path", t.f.code, "error", err)
	}
}
