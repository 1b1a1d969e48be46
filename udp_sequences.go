package flyrpc

import "time"

// Over datagrams no sequence is used again within sequenceRest, so that nothing of the call that had it is on its way any more,
// and the other end has forgotten it. There the numbers of a callTable's slots rest after each call, while the slots themselves
// go on with others. As a number has two sequences, it rests half as long.

// restingNumber is a slot's number that isn't to be used for a while.
type restingNumber struct {
	seq   uint16 // the sequence it had
	until time.Time
}

// numbered reports whether there is a number for one more call. It is called with the lock held.
func (t *callTable) numbered() bool { return t.rest == 0 || t.hasNumber() }

// hasNumber is numbered over datagrams.
func (t *callTable) hasNumber() bool {
	if len(t.slots) < maxOpenCalls+maxPings {
		return true
	}
	now := time.Now()
	return isRested(t.resting, now) || isRested(t.givenUp, now)
}

// isRested reports whether the first of some numbers has rested.
func isRested(numbers []restingNumber, now time.Time) bool {
	return len(numbers) > 0 && !now.Before(numbers[0].until)
}

// openRested returns a slot, of which there are as few as ever, with a number that has rested or wasn't used yet. It is called with
// the lock held.
func (t *callTable) openRested() *slot {
	s := t.free
	if s == nil {
		s = &slot{ready: make(chan struct{}, 1)}
	} else {
		t.free, s.next = s.next, nil
	}
	from := &t.givenUp
	switch {
	case isRested(t.resting, time.Now()):
		from = &t.resting
	case len(t.slots) < maxOpenCalls+maxPings:
		t.slots = append(t.slots, s)
		s.seq = uint16(len(t.slots))
		return s
	}
	s.seq = (*from)[0].seq
	*from = (*from)[1:]
	t.slots[slotIndex(s.seq)] = s
	return s
}

// slotIndex returns the index of the slot of a sequence.
func slotIndex(seq uint16) int { return int(seq&^(1<<slotBits)) - 1 }

// retireNumber has the number of a slot rest. It is called with the lock held.
func (t *callTable) retireNumber(s *slot) {
	t.slots[slotIndex(s.seq)] = nil
	t.resting = append(t.resting, restingNumber{s.seq, time.Now().Add(t.rest)})
}

// giveUpNumber has the number of a call rest that was given up, twice as long and until there is no other: the call may run for as
// long as its handler likes, and the same request with its sequence would be taken for it. It is called with the lock held.
func (t *callTable) giveUpNumber(s *slot) {
	t.slots[slotIndex(s.seq)] = nil
	t.givenUp = append(t.givenUp, restingNumber{s.seq, time.Now().Add(3 * t.rest)}) // and once more before this sequence is used
}

// awaitRested has those who wait for a number get the next one that has rested. It is called with the lock held.
func (t *callTable) awaitRested() {
	if t.rested != nil || len(t.waiting) == 0 || t.closed || t.used >= t.limit {
		return
	}
	next := t.resting
	if len(next) == 0 || len(t.givenUp) > 0 && t.givenUp[0].until.Before(next[0].until) {
		next = t.givenUp
	}
	if len(next) == 0 {
		return
	}
	t.rested = time.AfterFunc(time.Until(next[0].until), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.rested = nil
		t.grant()
	})
}

// pinging reports whether a ping is in flight.
func (t *callTable) pinging() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pings > 0
}

// tryAcquire returns a slot for a one-way message, beyond the agreed number of calls, or nil if the message would have to wait.
func (t *callTable) tryAcquire() *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuse != nil || t.pings == maxPings || !t.numbered() {
		return nil
	}
	return t.openPing()
}
