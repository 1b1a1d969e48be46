package flyrpc

import "time"

const (
	// knownFor is for how long the answer to a request is kept, and a message, that it has come. No
	// sequence is used again within sequenceRest, which is as long.
	knownFor     = 30 * time.Second
	sequenceRest = knownFor
	// maxKnown is the most bytes that are kept of what a connection has answered. What comes beyond it is refused.
	maxKnown = 8 << 20
	// forgetGrain is how much later something may be forgotten, so that it goes with others.
	forgetGrain = 5 * time.Second
	// knownCost is what a request or message is counted with beside its answer, in bytes.
	knownCost = 64
)

// knownState is what is known of a request.
type knownState uint8

const (
	isNew      knownState = iota
	isRunning             // its handler runs
	isAnswered            // it was answered
	isRefused             // it isn't served
)

// known are the requests and messages of the other end that have come, by their sequences, so that each is served once. A
// request is known from when it comes until knownFor after its answer, and never forgotten before. It is arithmetic: times are
// counted from the connection's beginning.
type known struct {
	calls      map[uint16]knownCall
	leaving    []leaving // in the order in which they are forgotten
	bytes      int       // of what is known
	running    int
	maxRunning int
	maxBytes   int
	maxAnswer  int // bytes
}

// knownCall is a request or message that is known.
type knownCall struct {
	hash   uint64 // of the request
	answer []byte
	state  knownState // isAnswered for a message, too
}

// leaving is when a sequence is forgotten.
type leaving struct {
	seq uint16
	at  time.Duration
}

// expire forgets what need not be known any more.
func (k *known) expire(now time.Duration) {
	n := 0
	for n < len(k.leaving) && k.leaving[n].at <= now {
		seq := k.leaving[n].seq
		k.bytes -= knownCost + len(k.calls[seq].answer)
		delete(k.calls, seq)
		n++
	}
	if k.leaving = k.leaving[n:]; len(k.leaving) == 0 {
		k.leaving = nil
	}
	if len(k.calls) == 0 {
		k.calls = nil // maps don't shrink
	}
}

// next returns when something is to be forgotten, though nothing comes any more; 0: never.
func (k *known) next() time.Duration {
	if len(k.leaving) == 0 {
		return 0
	}
	return k.leaving[0].at + forgetGrain
}

// keep makes a call known.
func (k *known) keep(seq uint16, c knownCall) {
	if k.calls == nil {
		k.calls = map[uint16]knownCall{}
	}
	k.calls[seq] = c
	k.bytes += knownCost
}

// leave has a sequence forgotten in time.
func (k *known) leave(now time.Duration, seq uint16) {
	k.leaving = append(k.leaving, leaving{seq, now + knownFor})
}

// message takes in a one-way message and reports whether it is to be handled: it is new, and there is room to know it.
func (k *known) message(now time.Duration, seq uint16) bool {
	k.expire(now)
	_, dup := k.calls[seq]
	if dup || seq == 0 || !k.room() {
		return false
	}
	k.keep(seq, knownCall{state: isAnswered})
	k.leave(now, seq)
	return true
}

// room reports whether one more may be known: when all that run are answered there is still enough.
func (k *known) room() bool {
	return k.bytes+k.running*k.maxAnswer+knownCost+k.maxAnswer <= k.maxBytes
}

// request takes in a request with a hash of its bytes. If it isn't new, that is what is to be sent: its answer, or that it runs.
// isRefused means that there is no room for it, or that another request had the sequence.
func (k *known) request(now time.Duration, seq uint16, hash uint64) (state knownState, answer []byte) {
	k.expire(now)
	if c, ok := k.calls[seq]; ok {
		if c.hash != hash {
			return isRefused, nil
		}
		return c.state, c.answer
	}
	if seq == 0 {
		return isRefused, nil
	}
	if k.running >= k.maxRunning || !k.room() {
		k.keep(seq, knownCall{hash: hash, state: isRefused}) // what comes again isn't served either
		k.leave(now, seq)
		return isRefused, nil
	}
	k.keep(seq, knownCall{hash: hash, state: isRunning})
	k.running++
	return isNew, nil
}

// ask returns what is known of a request.
func (k *known) ask(now time.Duration, seq uint16) (state knownState, answer []byte) {
	k.expire(now)
	c := k.calls[seq]
	if c.state == isAnswered && c.answer == nil { // a message has none
		return isNew, nil
	}
	return c.state, c.answer
}

// answered keeps the answer to a request, of which it keeps a copy.
func (k *known) answered(now time.Duration, seq uint16, answer []byte) {
	c, ok := k.calls[seq]
	if !ok || c.state != isRunning {
		return
	}
	k.running--
	k.bytes += len(answer)
	k.calls[seq] = knownCall{hash: c.hash, answer: append([]byte(nil), answer...), state: isAnswered}
	k.leave(now, seq)
}
