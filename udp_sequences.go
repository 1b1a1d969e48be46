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
func (t *callTable) numbered() bool {
	return t.rest == 0 || len(t.slots) < maxOpenCalls+maxPings || t.isRested(time.Now())
}

// isRested reports whether a number has rested.
func (t *callTable) isRested(now time.Time) bool {
	return len(t.resting) > 0 && !now.Before(t.resting[0].until)
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
	if t.isRested(time.Now()) {
		s.seq = t.resting[0].seq
		t.resting = t.resting[1:]
		t.slots[slotIndex(s.seq)] = s
		return s
	}
	t.slots = append(t.slots, s)
	s.seq = uint16(len(t.slots))
	return s
}

// slotIndex returns the index of the slot of a sequence.
func slotIndex(seq uint16) int { return int(seq&^(1<<slotBits)) - 1 }

// retireNumber has the number of a slot rest. It is called with the lock held.
func (t *callTable) retireNumber(s *slot) {
	t.slots[slotIndex(s.seq)] = nil
	t.resting = append(t.resting, restingNumber{s.seq, time.Now().Add(t.rest)})
}

// awaitRested has those who wait for a number get the next one that has rested. It is called with the lock held.
func (t *callTable) awaitRested() {
	if t.rest == 0 || t.rested != nil || len(t.waiting) == 0 || t.closed || t.used >= t.limit || len(t.resting) == 0 {
		return
	}
	t.rested = time.AfterFunc(time.Until(t.resting[0].until), func() {
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

// tryAcquire returns a free slot, or nil if a call would have to wait for one.
func (t *callTable) tryAcquire() *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuse != nil || t.used >= t.limit || len(t.waiting) > 0 || !t.numbered() {
		return nil
	}
	return t.open()
}
