package flyrpc

import (
	"math/rand/v2"
	"time"
)

const (
	// repeatFor is for how long a request is sent again as it is. Afterwards, and once the callee has said that it has it, the
	// caller only asks what has become of it, which never has it run. So what is on its way for as long as 10 s still meets
	// a callee that knows the call.
	repeatFor = 20 * time.Second
	// firstRepeat is after how long a request is sent again while nothing is known of how long answers take.
	firstRepeat = 200 * time.Millisecond
	// leastRepeat and mostRepeat bound how long an answer is waited for.
	leastRepeat, mostRepeat = 20 * time.Millisecond, 2 * time.Second
	// unheardFor is how long nothing may come of a call, though it is asked for and the other end is alive, before the connection
	// counts as dead all the same.
	unheardFor = time.Minute
	// lastRepeat is the longest wait when the other end is about to close, and that of what says so.
	lastRepeat = 50 * time.Millisecond
	// repeatGrain is how much later a packet may be sent again so that it goes with others.
	repeatGrain = 2 * time.Millisecond
	// repeatJitter is how much longer a wait may be than it should, as a part of it.
	repeatJitter = 0.25
)

// repeats are the requests of one side that are to be answered, by their sequences. They are arithmetic: times are counted from
// the connection's beginning.
type repeats struct {
	open  map[uint16]*repeated
	next  time.Duration // when to look; 0: never
	heard time.Duration // when something of the other end has come

	hurried         bool          // the other end is about to close
	mean, deviation time.Duration // of how long answers take; 0 while nothing is known
}

// repeated is a request that is to be answered.
type repeated struct {
	packet []byte
	begun  time.Duration
	due    time.Duration // when it is sent again
	wait   time.Duration // for how long it is waited for now
	again  bool          // it was sent more than once
	asks   bool          // the callee has it
	heard  time.Duration // when the callee has said so last, or begun
}

// add takes in a request that is being sent.
func (r *repeats) add(now time.Duration, seq uint16, packet []byte) {
	if r.open == nil {
		r.open = map[uint16]*repeated{}
	}
	p := &repeated{packet: packet, begun: now, heard: now, wait: r.timeout()}
	if seq == 0 || r.hurried {
		p.wait = min(p.wait, lastRepeat)
	}
	r.open[seq] = p
	p.due = now + jittered(p.wait)
	r.wake(p.due)
}

// wake has next be no later than at.
func (r *repeats) wake(at time.Duration) {
	if r.next == 0 || at < r.next {
		r.next = at
	}
}

// jittered returns a wait that is a little longer.
func jittered(wait time.Duration) time.Duration {
	return wait + time.Duration(repeatJitter*rand.Float64()*float64(wait))
}

// timeout returns how long an answer is waited for before the request is sent again: RFC 6298.
func (r *repeats) timeout() time.Duration {
	if r.mean == 0 {
		return firstRepeat
	}
	return min(max(r.mean+4*r.deviation, leastRepeat), mostRepeat)
}

// answered takes a request off that was answered, and reports whether there was one.
func (r *repeats) answered(now time.Duration, seq uint16) bool {
	p := r.open[seq]
	if p == nil || seq == 0 {
		return false
	}
	if !p.again { // else it isn't known which one was answered
		r.measure(now - p.begun)
	}
	r.drop(seq)
	return true
}

// measure takes into account how long an answer took.
func (r *repeats) measure(took time.Duration) {
	took = max(took, 1)
	if r.mean == 0 {
		r.mean, r.deviation = took, took/2
		return
	}
	r.deviation += ((took - r.mean).Abs() - r.deviation) / 4
	r.mean += (took - r.mean) / 8
}

// hurry has all requests sent again at once, and often: the other end is about to close.
func (r *repeats) hurry(now time.Duration) {
	r.hurried = true
	for _, p := range r.open {
		p.due, p.wait = now, lastRepeat/2
	}
	r.wake(now)
}

// running says that the callee has a request.
func (r *repeats) running(now time.Duration, seq uint16) {
	if p := r.open[seq]; p != nil {
		p.asks, p.heard = true, now
	}
}

// drop takes a request off.
func (r *repeats) drop(seq uint16) {
	delete(r.open, seq)
	if len(r.open) == 0 {
		r.open = nil // maps don't shrink
	}
}

// waiting returns how many answers are waited for.
func (r *repeats) waiting() int {
	n := len(r.open)
	if r.open[0] != nil { // which says that this side is done
		n--
	}
	return n
}

// look returns what is to be sent now, and whether the other end is dead: nothing has come of it for as long as silence, though
// a request was sent again and again, or nothing of one call for unheardFor.
func (r *repeats) look(now, silence time.Duration) (packets [][]byte, dead bool) {
	r.next = 0
	for seq, p := range r.open {
		if p.due <= now+repeatGrain {
			silent := now - max(p.begun, r.heard)
			if p.again && (silent >= silence || now-p.heard >= max(unheardFor, silence)) {
				return nil, true
			}
			most := mostRepeat
			switch {
			case seq == 0 || r.hurried:
				most = lastRepeat
			case silent > silence/4: // it should be lost often before the other end counts as dead
				most = min(most, silence/20)
			}
			packets = append(packets, p.repeat(now, seq, most))
		}
		r.wake(p.due)
	}
	return packets, false
}

// repeat returns what is sent again for a request, which is waited for as long as most then.
func (p *repeated) repeat(now time.Duration, seq uint16, most time.Duration) []byte {
	p.again = true
	p.wait = min(2*p.wait, most)
	p.due = now + jittered(p.wait)
	if seq != 0 && (p.asks || now-p.begun >= repeatFor) {
		p.asks = true
		return appendHeader(nil, FlagStream, seq, askCode, nil, 0)
	}
	return p.packet
}
