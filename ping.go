package flyrpc

import (
	"context"
	"time"
)

// Ping measures the time a packet with length bytes, at most 1,024, takes to the other end and
// back. It takes none of the calls the other end accepts. A timeout of zero or less waits until
// the connection ends. Any answer counts, a version 1 peer's NOT_FOUND too.
func (c *Conn) Ping(length int, timeout time.Duration) (time.Duration, error) {
	if c.byHTTP() {
		return 0, errOneWay()
	}
	return c.ping(context.Background(), length, timeout)
}

// ping is Ping that ends with ctx too.
func (c *Conn) ping(ctx context.Context, length int, timeout time.Duration) (time.Duration, error) {
	if length < 0 || length > maxPing {
		return 0, localErr(BadRequest, NotSent, nil, "a ping has 0 to %d bytes, not %d", maxPing, length)
	}
	if c.settled().v1 {
		length = max(length, 1) // an empty packet may not be delivered
	}
	s, err := c.calls.acquirePing()
	if err != nil {
		return 0, err
	}
	if c.in.stuck.Load() { // the reader has to go on, to read the answer
		c.in.nudge()
	}
	begin := time.Now()
	f := frame{flag: FlagWait, seq: s.seq, code: pingPath, body: make([]byte, length)}
	if err = c.proto.out.putNow(&f); err != nil {
		c.calls.withdraw(s)
		return 0, notSent(err)
	}
	c.resume()
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-s.ready:
	case <-expired:
		c.forgetKey(s)
		if c.calls.abandon(s) {
			c.unask(s)
			return 0, localErr(Timeout, Unknown, context.DeadlineExceeded, "no pong within %v", timeout)
		}
		<-s.ready
	case <-ctx.Done():
		c.forgetKey(s)
		if c.calls.abandon(s) {
			c.unask(s)
			return 0, ctxErr(ctx, Unknown, pingPath)
		}
		<-s.ready
	}
	defer c.calls.release(s)
	if s.answer.err != nil {
		return 0, c.take(context.Background(), s, nil)
	}
	d := time.Since(begin)
	c.calls.rtt.Store(int64(d))
	return d, nil
}

// unask says that nobody waits for the answer to a call or ping any more: over datagrams it would be sent again.
func (c *Conn) unask(s *slot) {
	if c.datagram != nil {
		c.datagram.forget(s.seq)
	}
}
