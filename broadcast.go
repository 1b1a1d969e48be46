package flyrpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc/internal/compress"
)

// Broadcast sends a message to path at every connection that Conns returns. It
// doesn't wait: connections that have too much queued already, or are gone, are left
// out, and each is reported by an Error, not sent, in the joined error that it returns.
func (s *Server) Broadcast(path string, message any) error {
	encoded := map[broadcastKey]*frame{}
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
}

// cast sends a broadcast to one connection, encoding it if no other connection had
// the same form.
func (c *Conn) cast(encoded map[broadcastKey]*frame, path string, message any) error {
	m := c.settled()
	key := broadcastKey{m.ser.Name(), m.v1, m.zipBody, m.minZip}
	f := encoded[key]
	if f == nil {
		f = &frame{code: path, path: true}
		call := &Outgoing{Conn: c, Path: path, Message: message, OneWay: true}
		if _, _, err := c.compose(context.Background(), m, call, f, nil, nil); err != nil {
			return err
		}
		encoded[key] = f
	}
	if n := len(f.body) + len(f.meta) + 3; len(f.body) > m.maxMessage || n > m.maxFrame {
		return localErr(TooLong, NotSent, nil, "the message has %d bytes, the other end accepts %d", len(f.body), min(m.maxMessage, m.maxFrame))
	}
	if c.proto.out.tryPut(f) {
		return nil
	}
	select {
	case <-c.done:
		return notSent(c.lostError(c.reason))
	default:
		return localErr(Busy, NotSent, nil, "the other end doesn't read: %d bytes are queued", c.ep.limits.maxQueued)
	}
}
