package flyrpc

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// newCallTable returns a table for a peer that accepts limit calls.
func newCallTable(limit int) *callTable {
	t := &callTable{onLost: func() {}, onFree: func() {}}
	t.begin(limit, false)
	return t
}

// mustAcquire returns a slot, of which one must be free.
func mustAcquire(t testing.TB, calls *callTable) *slot {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing to wait for
	s, _, err := calls.acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// respondTo does what the reader does with a response, and reports whether a call got it.
func respondTo(calls *callTable, seq uint16, payload string) bool {
	s, _ := calls.claim(seq)
	if s == nil {
		return false
	}
	s.answer = answer{payload: []byte(payload)}
	s.deliver()
	return true
}

func TestSequencesOfSlots(t *testing.T) {
	calls := newCallTable(maxOpenCalls)
	seen := map[uint16]bool{}
	take := func(s *slot, err error) *slot {
		if err != nil {
			t.Fatal(err)
		}
		if s.seq == 0 || s.seq == helloSequence || seen[s.seq] {
			t.Fatalf("sequence %#x after %d others", s.seq, len(seen))
		}
		seen[s.seq] = true
		return s
	}
	for range 2 {
		var all []*slot
		for range maxOpenCalls {
			all = append(all, take(mustAcquire(t, calls), nil))
		}
		for range maxPings {
			all = append(all, take(calls.acquirePing()))
		}
		if _, err := calls.acquirePing(); !errors.Is(err, Busy) || Outcome(err) != NotSent {
			t.Errorf("a ping too many: %v", err)
		}
		for _, s := range all {
			calls.release(s)
		}
	} // the second round has the other generation: no sequence comes twice
	if calls.used != 0 || calls.pings != 0 {
		t.Errorf("%d calls, %d pings", calls.used, calls.pings)
	}
}

// TestDuplicateResponse: a response that comes twice never reaches the slot's next call.
func TestDuplicateResponse(t *testing.T) {
	calls := newCallTable(4)
	for range 5 {
		s := mustAcquire(t, calls)
		old := s.seq
		if !respondTo(calls, old, "first") || respondTo(calls, old, "again") {
			t.Fatal("the response must count once")
		}
		<-s.ready
		calls.release(s)
		if respondTo(calls, old, "again") {
			t.Fatal("a free slot took a response")
		}
		next := mustAcquire(t, calls)
		if next != s {
			t.Fatal("the slot used last should be used first")
		}
		if respondTo(calls, old, "again") {
			t.Fatal("the next call took the response of the one before")
		}
		respondTo(calls, next.seq, "second")
		<-next.ready
		calls.release(next)
	}
}

func TestUnknownSequences(t *testing.T) {
	calls := newCallTable(4)
	s := mustAcquire(t, calls)
	for seq := range 1 << 16 {
		if uint16(seq) != s.seq && respondTo(calls, uint16(seq), "x") {
			t.Fatalf("sequence %#x reached a call", seq)
		}
	}
	select {
	case <-s.ready:
		t.Error("the open call was answered")
	default:
	}
}

// TestCancelBeforeSlotIsFree: an answer that comes while the caller is about to send its
// cancellation doesn't free the slot, else the cancellation could meet the next call.
func TestCancelBeforeSlotIsFree(t *testing.T) {
	calls := newCallTable(1)
	freed := 0
	calls.onFree = func() { freed++ }
	s := mustAcquire(t, calls)
	if !calls.abandon(s) {
		t.Fatal("not abandoned")
	}
	if respondTo(calls, s.seq, "late") {
		t.Fatal("a call got an answer that nobody waits for")
	}
	if calls.count() != 1 {
		t.Fatal("the slot is free before the cancellation was sent")
	}
	before := freed
	calls.letGo(s)
	if calls.count() != 0 || calls.abandoned != 0 || freed == before {
		t.Errorf("%d calls, %d abandoned, %d told", calls.count(), calls.abandoned, freed)
	}
	again := mustAcquire(t, calls)
	calls.letGo(again) // changes nothing
	calls.abandon(again)
	calls.letGo(again)
	if calls.count() != 1 {
		t.Error("the slot is free before the answer has come")
	}
	respondTo(calls, again.seq, "late")
	if calls.count() != 0 {
		t.Error("the slot isn't free after the answer has come")
	}
}

// TestWithdrawWhileClosing: a call that could not be sent takes what the closing
// connection, or a peer that guesses, put into its slot.
func TestWithdrawWhileClosing(t *testing.T) {
	for range 200 {
		calls := newCallTable(1)
		s := mustAcquire(t, calls)
		var wg sync.WaitGroup
		wg.Go(func() { calls.close(Unavailable, Unavailable) })
		wg.Go(func() { calls.withdraw(s) })
		wg.Wait()
		if len(s.ready) != 0 || calls.used != 0 {
			t.Fatalf("%d answers are left, %d calls", len(s.ready), calls.used)
		}
	}
	calls := newCallTable(1)
	s := mustAcquire(t, calls)
	respondTo(calls, s.seq, "guessed")
	calls.withdraw(s)
	if s = mustAcquire(t, calls); len(s.ready) != 0 {
		t.Error("the next call has an answer already")
	}
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		calls := newCallTable(1)
		first := mustAcquire(t, calls)
		order := make(chan int, n)
		for i := range n {
			go func() {
				s, _, err := calls.acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				calls.release(s)
			}()
			synctest.Wait()
		}
		calls.release(first)
		for i := range n {
			if got := <-order; got != i {
				t.Fatalf("waiter %d was served as number %d", got, i)
			}
		}
	})
}

// TestWaiterThatLeavesAsItIsServed: no slot is lost when a waiter's context ends at the moment
// at which it is given one.
func TestWaiterThatLeavesAsItIsServed(t *testing.T) {
	calls := newCallTable(1)
	served, left := 0, 0
	for i := range 1000 {
		first := mustAcquire(t, calls)
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan *slot, 1)
		go func() {
			s, _, _ := calls.acquire(ctx)
			result <- s
		}()
		for waiting := 0; waiting == 0; {
			calls.mu.Lock()
			waiting = len(calls.waiting)
			calls.mu.Unlock()
			runtime.Gosched()
		}
		if i%2 == 0 {
			go cancel()
			calls.release(first)
		} else { // it leaves, and is served before it is off the list
			calls.mu.Lock()
			cancel()
			for range 20 {
				runtime.Gosched()
			}
			calls.put(first)
			calls.mu.Unlock()
		}
		if s := await1(t, result, "the waiter"); s != nil {
			served++
			calls.release(s)
		} else {
			left++
		}
		if calls.count() != 0 || len(calls.waiting) != 0 {
			t.Fatalf("%d calls are open, %d wait", calls.count(), len(calls.waiting))
		}
	}
	t.Logf("%d were served, %d left", served, left)
}

func TestStopAndCloseLetWaitersGo(t *testing.T) {
	for name, end := range map[string]func(*callTable){
		"stop":  func(c *callTable) { c.stop(Conflict) },
		"close": func(c *callTable) { c.close(Conflict, Unavailable) },
	} {
		synctest.Test(t, func(t *testing.T) {
			calls := newCallTable(1)
			open := mustAcquire(t, calls)
			errs := make(chan error, 2)
			for range 2 {
				go func() {
					_, _, err := calls.acquire(t.Context())
					errs <- err
				}()
			}
			synctest.Wait()
			end(calls)
			for range 2 {
				if err := <-errs; err != Conflict {
					t.Errorf("%s: a waiter got %v", name, err)
				}
			}
			if _, _, err := calls.acquire(t.Context()); err != Conflict {
				t.Errorf("%s: a new call got %v", name, err)
			}
			synctest.Wait()
			if ended := len(open.ready) == 1; ended != (name == "close") {
				t.Errorf("%s: the open call has ended: %v", name, ended)
			}
		})
	}
}

// TestRetiredSequences: a version 1 peer's call that is given up frees its slot at once,
// its sequence comes again last, and its late answer reaches nobody.
func TestRetiredSequences(t *testing.T) {
	calls := newCallTable(1)
	calls.begin(1, true)
	seen := map[uint16]bool{}
	for i := range maxOpenCalls + maxPings {
		s := mustAcquire(t, calls)
		if seen[s.seq] {
			t.Fatalf("sequence %#x comes again after %d", s.seq, i)
		}
		seen[s.seq] = true
		if !calls.abandon(s) {
			t.Fatal("not abandoned")
		}
		calls.letGo(s)
		if calls.count() != 0 || respondTo(calls, s.seq, "late") {
			t.Fatal("a retired sequence is open")
		}
	}
	s := mustAcquire(t, calls)
	if seen[s.seq] {
		t.Errorf("the oldest sequence, %#x, comes again as it was", s.seq)
	}
}
