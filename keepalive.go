package flyrpc

import (
	"math"
	"time"
)

// maxKeepalive is the longest KeepaliveTime of the other end that this one adopts.
const maxKeepalive = time.Hour

// RTT returns how long the last ping, of keepalive or of Ping, took to the other end and back, or 0 if none has been
// answered yet.
func (c *Conn) RTT() time.Duration { return time.Duration(c.calls.rtt.Load()) }

// keepaliveWith returns after how long without a byte this side pings a version 2 peer, which has said that it does so after
// theirs: the larger of both. 0 means that it doesn't.
func (l *limits) keepaliveWith(theirs time.Duration) time.Duration {
	if l.keepaliveTime < 0 {
		return 0
	}
	return max(l.keepaliveTime, theirs)
}

// helloKeepalive is this side's KeepaliveTime in milliseconds, as hello says it. 0 means that it doesn't ping.
func (l *limits) helloKeepalive() helloNumber {
	if l.keepaliveTime < 0 {
		return 0
	}
	return helloNumber(min((l.keepaliveTime+time.Millisecond-1)/time.Millisecond, math.MaxInt))
}

// keepaliveOf returns the KeepaliveTime that a hello says, so far as this side adopts it.
func keepaliveOf(n helloNumber) time.Duration {
	most := helloNumber(maxKeepalive / time.Millisecond)
	return time.Duration(max(0, min(n, most))) * time.Millisecond
}

// probe sends a ping that nobody waits for. That its answer comes is seen by the timer, as is any other byte.
func (c *Conn) probe() {
	s, err := c.calls.acquirePing()
	if err != nil {
		return // so many pings are in flight that one more says nothing new
	}
	c.calls.leavePing(s)
	_ = c.proto.out.putNow(&frame{flag: FlagWait, seq: s.seq, code: pingPath})
	c.resume()
}

// leavePing makes s a ping that nobody waits for, whose answer is measured as it comes.
func (t *callTable) leavePing(s *slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted--
	s.state = slotAbandoned
	s.probe, s.since = true, time.Now()
}

// measure takes the time of such a ping, whose answer has come. It is called with the lock held.
func (t *callTable) measure(s *slot) {
	if s.probe {
		s.probe = false
		t.rtt.Store(int64(time.Since(s.since)))
	}
}
