package flyrpc

import "time"

// abandon gives the call in s up and reports true; if its answer is there already,
// or on its way to the caller, it reports false and the caller takes it. The slot
// isn't used again until its answer has come and letGo was called.
func (t *callTable) abandon(s *slot) bool {
	given, st := t.abandonSlot(s)
	if st != nil {
		st.discard()
	}
	return given
}

// abandonSlot is abandon that leaves it to the caller to drop what comes.
func (t *callTable) abandonSlot(s *slot) (given bool, st *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.state != slotOpen {
		return false, nil
	}
	t.wanted--
	if t.retire {
		t.account(s)
		if t.rest > 0 {
			t.giveUpNumber(s) // s itself isn't used again: its caller still looks at its sequence
		} else {
			t.retired = append(t.retired, s)
		}
		t.grant()
		return true, s.stream
	}
	s.state = slotAbandoned
	if s.isPing {
		return true, s.stream
	}
	s.held = true
	s.since = time.Now()
	t.abandoned++
	if t.lost == nil && t.tooMany(t.abandoned) {
		t.lost = time.AfterFunc(lostAfter, t.checkLost)
	}
	return true, s.stream
}

// letGo lets an abandoned slot be used again, when its answer has come. The caller has
// told the other end by then: a cancellation sent later could meet the slot's next call.
func (t *callTable) letGo(s *slot) {
	t.mu.Lock()
	late := s.held && s.late
	s.held = false
	if late {
		t.dropAnswer(s)
	}
	t.mu.Unlock()
	if late {
		t.onFree()
	}
}

// tooMany reports whether n calls are a quarter of those agreed on.
func (t *callTable) tooMany(n int) bool { return n*4 >= t.limit }

// checkLost finds out whether a quarter of the calls wait for answers that don't come.
func (t *callTable) checkLost() {
	t.mu.Lock()
	n, now := 0, time.Now()
	for _, s := range t.slots {
		if s != nil && s.state == slotAbandoned && !s.isPing && now.Sub(s.since) >= lostAfter {
			n++
		}
	}
	t.lost = nil
	lost := !t.closed && t.tooMany(n)
	if !lost && !t.closed && t.tooMany(t.abandoned) {
		t.lost = time.AfterFunc(lostAfter/4, t.checkLost)
	}
	t.mu.Unlock()
	if lost {
		t.onLost()
	}
}

// dropAnswer frees an abandoned slot whose answer has come, unless it is held. It is
// called with the lock held.
func (t *callTable) dropAnswer(s *slot) {
	if s.held {
		return
	}
	s.late = false
	t.measure(s)
	if !s.isPing {
		t.abandoned--
	}
	s.trim()
	t.put(s)
}

// count returns how many calls are open, those given up included.
func (t *callTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// waited reports whether somebody waits for an answer.
func (t *callTable) waited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wanted > 0
}

// awaits reports whether answers are to come, pongs included.
func (t *callTable) awaits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used+t.pings > 0
}
