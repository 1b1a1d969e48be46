package flyrpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// restingTable returns a callTable as it is over datagrams.
func restingTable(limit int) *callTable {
	t := &callTable{rest: sequenceRest / 2, onFree: func() {}, onLost: func() {}}
	t.begin(limit, true)
	return t
}

// No sequence is used again within 30 s of its last call's end, and who needs one waits.
func TestSequencesRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := restingTable(10)
		defer table.close(errors.New("over"), nil)
		ended := map[uint16]time.Time{}
		begin := time.Now()
		const calls = 100_000
		for i := range calls {
			s, _, err := table.acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if last, used := ended[s.seq]; used && time.Since(last) < sequenceRest || s.seq == 0 || s.seq == helloSequence {
				t.Fatalf("call %d: sequence %#x is used again %v after its last call", i, s.seq, time.Since(last))
			}
			ended[s.seq] = time.Now()
			table.withdraw(s)
		}
		if took := time.Since(begin); took < 45*time.Second || took > time.Minute {
			t.Errorf("%d calls took %v: 65,532 sequences go round in 30 s", calls, took)
		}
		if len(ended) < 65_000 {
			t.Errorf("%d sequences were used", len(ended))
		}
		n := 0
		for s := table.free; s != nil; s = s.next {
			n++
		}
		if n > 10 {
			t.Errorf("there are %d slots for one call at a time", n)
		}
	})
}

// Waiting for a sequence ends with the context, or the connection, and a ping doesn't wait.
func TestSequencesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := restingTable(10)
		for range maxOpenCalls + maxPings {
			s, _, err := table.acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			table.abandon(s) // its caller has given up
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := table.acquire(ctx); !errors.Is(err, Timeout) || Outcome(err) != NotSent {
			t.Errorf("acquire: %v", err)
		}
		if _, err := table.acquirePing(); !errors.Is(err, Busy) {
			t.Errorf("acquirePing: %v", err)
		}
		if s := table.tryAcquire(); s != nil {
			t.Errorf("tryAcquire: %+v", s)
		}
		closed := errors.New("closed")
		failed := make(chan error)
		go func() { _, _, err := table.acquire(context.Background()); failed <- err }()
		synctest.Wait()
		table.close(closed, nil)
		if err := <-failed; err != closed {
			t.Errorf("acquire when the connection closes: %v", err)
		}
	})
}

// With the wait of many, each gets the next number that has rested.
func TestSequencesGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := restingTable(100)
		defer table.close(errors.New("over"), nil)
		for range maxOpenCalls + maxPings {
			s := table.tryAcquire()
			table.withdraw(s)
			if s.seq%1000 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		got := make(chan uint16)
		for range 50 {
			go func() {
				s, _, err := table.acquire(context.Background())
				if err != nil {
					t.Error(err)
				}
				got <- s.seq
			}()
		}
		seen := map[uint16]bool{}
		for range 50 {
			seen[<-got] = true
		}
		if len(seen) != 50 {
			t.Errorf("%d sequences for 50 calls", len(seen))
		}
	})
}

// The sequence of a call that was given up is used again within 60 s under no load, and not at all while there are others.
func TestSequencesGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := restingTable(200)
		defer table.close(errors.New("over"), nil)
		given := map[uint16]bool{}
		begin := time.Now()
		for range 100 {
			s := table.tryAcquire()
			given[s.seq] = true
			table.abandon(s)
		}
		for range 100 { // few calls
			time.Sleep(2 * time.Second)
			s := table.tryAcquire()
			if given[s.seq] || given[s.seq^1<<slotBits] {
				t.Fatalf("sequence %#x is used again after %v, though others were never used", s.seq, time.Since(begin))
			}
			table.withdraw(s)
		}
		table = restingTable(200)
		defer table.close(errors.New("over"), nil)
		begin = time.Now()
		first := table.tryAcquire()
		seq, again := first.seq, time.Duration(0)
		table.abandon(first)
		for time.Since(begin) < 90*time.Second { // as many calls as there can be
			s, _, err := table.acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if s.seq == seq && again == 0 {
				again = time.Since(begin)
			}
			table.withdraw(s)
		}
		if again < 2*sequenceRest {
			t.Errorf("its sequence is used again after %v", again)
		}
	})
}
