package flyrpc

import "time"

// timeouts are those of a connection that no read or write has by itself. They are arithmetic: its
// timer shows them, now and then, what has become of the connection, and they say what is to be done and
// when to look again. All times are counted from the connection's beginning; 0 means never.
type timeouts struct {
	read     time.Duration // ReadTimeout
	idle     time.Duration // IdleTimeout
	age      time.Duration // MaxConnAge, with its jitter
	ping     time.Duration // the larger KeepaliveTime
	interval time.Duration // KeepaliveInterval

	due time.Duration // when to look again

	heard  time.Duration // when bytes have come, as far as is known
	pinged time.Duration // when a ping was sent that nothing has come after
	bulk   uint64        // sight.bulk as it was

	amid     uint32        // sight.amid as it was
	amidFrom time.Duration // since when this part of the packet is waited for
	amidBulk uint64        // sight.bulk then

	work  uint64        // sight.work as it was
	quiet time.Duration // since when nothing has happened, as far as is known
}

// sight is what a connection's timer sees.
type sight struct {
	now  time.Duration
	read time.Duration // when the reader has read last, but for large payloads
	amid uint32        // odd while a packet is waited for that has begun; another number for each
	bulk uint64        // bytes read of large payloads
	work uint64        // another number when a call or message has begun
	busy bool          // calls are open, or messages being handled
}

// finding is what a look at a connection says.
type finding uint8

const (
	allWell finding = iota
	askPeer         // a ping is to be sent
	isDead          // nothing has come since the ping
	isSlow          // a packet takes too long
	isIdle          // nothing has happened for IdleTimeout
	isOld           // MaxConnAge is over
)

// ends reports whether the connection ends at once, and need not be looked at again.
func (f finding) ends() bool { return f == isDead || f == isSlow }

// readPart is how many bytes of a packet may take ReadTimeout: a large packet may take it for each.
const readPart = 16 << 10

// stalled is how late a look is whose process did not run meanwhile.
const stalled = time.Second

// look says what is to be done, and sets due if that doesn't end the connection.
func (t *timeouts) look(s *sight) finding {
	t.hear(s)
	if t.due > 0 && s.now-t.due > stalled { // nobody could have read what has come
		t.amidFrom = s.now
		if t.pinged > 0 {
			t.pinged = s.now
		}
	}
	t.due = 0
	switch {
	case t.old(s):
		return t.leave(s, isOld)
	case t.slow(s):
		return isSlow
	case t.unused(s):
		return t.leave(s, isIdle)
	}
	return t.silent(s)
}

// leave returns why the connection ends in order, which is said once. What is open may take a while yet, and the other end, whose it
// is, may be gone: so the rest is looked for on.
func (t *timeouts) leave(s *sight, why finding) finding {
	t.age, t.idle, t.due = 0, 0, s.now
	return why
}

// hear notes when bytes have come.
func (t *timeouts) hear(s *sight) {
	t.heard = max(t.heard, s.read)
	if s.bulk != t.bulk {
		t.bulk, t.heard = s.bulk, s.now
	}
	if t.heard >= t.pinged {
		t.pinged = 0
	}
}

// await has a packet that has just begun watched.
func (t *timeouts) await(s *sight) {
	t.amid, t.amidFrom, t.amidBulk = s.amid, s.now, s.bulk
	t.wake(s.now + t.read/4)
}

// wake has due be no later than at.
func (t *timeouts) wake(at time.Duration) {
	if t.due == 0 || at < t.due {
		t.due = at
	}
}

// old reports whether the connection has reached its age.
func (t *timeouts) old(s *sight) bool {
	if t.age == 0 {
		return false
	}
	t.wake(t.age)
	return s.now >= t.age
}

// slow reports whether a packet, or a part of a large one, is waited for too long.
func (t *timeouts) slow(s *sight) bool {
	switch {
	case s.amid&1 == 0:
		return false
	case s.amid != t.amid || s.bulk-t.amidBulk >= readPart:
		t.amid, t.amidFrom, t.amidBulk = s.amid, s.now, s.bulk
	}
	end := t.amidFrom + t.read
	t.wake(min(end, s.now+t.read/4))
	return s.now >= end
}

// unused reports whether nothing has happened for IdleTimeout.
func (t *timeouts) unused(s *sight) bool {
	if t.idle == 0 {
		return false
	}
	if s.busy || s.work != t.work {
		t.work, t.quiet = s.work, s.now
	}
	end := t.quiet + t.idle
	t.wake(min(end, s.now+t.idle/4))
	return s.now >= end
}

// silent says what follows from how long no byte has come.
func (t *timeouts) silent(s *sight) finding {
	if t.ping == 0 {
		return allWell
	}
	if t.pinged > 0 {
		end := t.pinged + t.interval
		t.wake(min(end, s.now+t.ping)) // an answer may be followed by a silence before end
		if s.now >= end {
			return isDead
		}
		return allWell
	}
	if at := t.heard + t.ping; s.now < at {
		t.wake(at)
		return allWell
	}
	t.pinged = s.now
	t.wake(s.now + min(t.interval, t.ping))
	return askPeer
}
