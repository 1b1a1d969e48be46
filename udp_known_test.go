package flyrpc

import (
	"bytes"
	"testing"
	"time"
)

func newKnown(maxRunning, maxBytes int) *known {
	return &known{maxRunning: maxRunning, maxBytes: maxBytes, maxAnswer: 1200}
}

// expectState makes a request and wants it to be in a state.
func (k *known) expectState(t *testing.T, now time.Duration, seq uint16, hash uint64, want knownState, answer string) {
	t.Helper()
	if state, got := k.request(now, seq, hash); state != want || string(got) != answer {
		t.Errorf("request %d after %v: state %d, %q; want %d, %q", seq, now, state, got, want, answer)
	}
}

func TestKnownOnce(t *testing.T) {
	k := newKnown(10, maxKnown)
	k.expectState(t, 0, 1, 7, isNew, "")
	k.expectState(t, time.Hour, 1, 7, isRunning, "") // however long its handler takes
	k.answered(time.Hour, 1, []byte("yes"))
	k.expectState(t, time.Hour, 1, 7, isAnswered, "yes")
	k.answered(time.Hour, 1, []byte("no"))
	k.expectState(t, time.Hour+knownFor-1, 1, 7, isAnswered, "yes")
	k.expectState(t, time.Hour+knownFor-1, 1, 8, isRefused, "") // another call with its sequence
	k.expectState(t, time.Hour+knownFor, 1, 8, isNew, "")
	k.expectState(t, 0, 0, 8, isRefused, "")
	k.answered(0, 99, []byte("to nothing"))
	if k.bytes != knownCost {
		t.Errorf("%d bytes are counted, want %d", k.bytes, knownCost)
	}
}

func TestKnownAsk(t *testing.T) {
	k := newKnown(1, maxKnown)
	k.expectState(t, 0, 1, 7, isNew, "")
	k.expectState(t, 0, 2, 7, isRefused, "")
	k.message(0, 3)
	ask := func(now time.Duration, seq uint16, want knownState) {
		t.Helper()
		if state, _ := k.ask(now, seq); state != want {
			t.Errorf("%d is asked for after %v: %d, want %d", seq, now, state, want)
		}
	}
	ask(0, 1, isRunning)
	ask(0, 2, isRefused)
	ask(0, 3, isNew) // a message has no answer
	ask(0, 4, isNew)
	k.answered(time.Second, 1, []byte("yes"))
	ask(time.Second, 1, isAnswered)
	ask(time.Second+knownFor, 1, isNew)
}

func TestKnownMessages(t *testing.T) {
	k := newKnown(1, 20*knownCost+2*1200)
	for i, want := range []bool{true, false} {
		if got := k.message(time.Duration(i), 5); got != want {
			t.Errorf("message for the %dth time: %v", i+1, got)
		}
	}
	if k.message(0, 0) {
		t.Error("a message with sequence 0 is taken, and would be twice")
	}
	if !k.message(knownFor+1, 5) {
		t.Error("its sequence can't be used again")
	}
	n := 0
	for seq := uint16(100); k.message(knownFor+1, seq); seq++ {
		n++
	}
	if n == 0 || n > 50 {
		t.Errorf("%d messages were taken before the memory was full", n)
	}
}

// A refused request stays refused, whatever becomes free meanwhile, and nothing that hasn't expired is dropped for it.
func TestKnownFull(t *testing.T) {
	k := newKnown(2, maxKnown)
	k.expectState(t, 0, 1, 7, isNew, "")
	k.expectState(t, 0, 2, 7, isNew, "")
	k.expectState(t, 0, 3, 7, isRefused, "")
	k.answered(0, 1, []byte("one"))
	k.expectState(t, 0, 3, 7, isRefused, "")
	k.expectState(t, 0, 4, 7, isNew, "")

	k = newKnown(2, 10_000)
	answer := bytes.Repeat([]byte("a"), 1000)
	var kept uint16
	for seq := uint16(1); ; seq++ {
		if state, _ := k.request(0, seq, 7); state != isNew {
			kept = seq - 1
			break
		}
		k.answered(0, seq, answer)
	}
	if kept < 5 || kept > 10 || k.bytes > 10_000 {
		t.Errorf("%d answers, %d bytes are kept", kept, k.bytes)
	}
	for seq := uint16(1); seq <= kept; seq++ {
		k.expectState(t, knownFor-1, seq, 7, isAnswered, string(answer))
	}
	k.expectState(t, knownFor, 100, 7, isNew, "")
	k.answered(knownFor, 100, nil)
	k.expectState(t, 3*knownFor, 101, 7, isNew, "")
	k.answered(3*knownFor, 101, nil)
	k.expire(5 * knownFor)
	if k.calls != nil || k.leaving != nil || k.bytes != 0 || k.running != 0 {
		t.Errorf("what is left of it: %+v", k)
	}
}
