package flyrpc

import (
	"slices"
	"testing"
	"time"
)

// askPacket is what asks for a call.
func askPacket(seq uint16) string {
	return string(appendHeader(nil, FlagStream, seq, askCode, nil, 0))
}

// runUntil runs r until a time, or until it says that the other end is dead, and returns when it has sent what.
func (r *repeats) runUntil(end, silence time.Duration) (at []time.Duration, sent []string, dead bool) {
	for r.next > 0 && r.next < end {
		now := r.next
		packets, isDead := r.look(now, silence)
		for _, p := range packets {
			at, sent = append(at, now), append(sent, string(p))
		}
		if isDead {
			return at, sent, true
		}
	}
	return at, sent, false
}

func TestRepeats(t *testing.T) {
	var r repeats
	r.add(0, 7, []byte("request"))
	at, sent, dead := r.runUntil(time.Hour, 50*time.Second)
	if !dead || at[len(at)-1] < 45*time.Second || at[len(at)-1] > 60*time.Second {
		t.Errorf("dead: %v, asked for last after %v", dead, at[len(at)-1])
	}
	for i, p := range sent {
		if i > 0 {
			if gap, most := at[i]-at[i-1], mostRepeat*5/4; gap > most || gap < at[0]/2 {
				t.Errorf("sent after %v and %v", at[i-1], at[i])
			}
		}
		want := "request"
		if at[i] >= repeatFor {
			want = askPacket(7)
		}
		if p != want {
			t.Errorf("after %v %q was sent, want %q", at[i], p, want)
		}
	}
	if at[0] < firstRepeat || at[0] > firstRepeat*5/4 {
		t.Errorf("sent again after %v first", at[0])
	}
}

func TestRepeatsEnd(t *testing.T) {
	var r repeats
	r.add(0, 7, []byte("seven"))
	r.add(0, 8, []byte("eight"))
	r.add(0, 0, []byte("done"))
	if n := r.waiting(); n != 2 {
		t.Errorf("%d answers are waited for", n)
	}
	if !r.answered(time.Millisecond, 7) || r.answered(time.Millisecond, 7) || r.answered(0, 0) || r.answered(0, 9) {
		t.Error("an answer counts wrong")
	}
	r.running(2*time.Millisecond, 8)
	r.running(0, 9)
	_, sent, _ := r.runUntil(time.Second, time.Hour)
	if !slices.Contains(sent, askPacket(8)) || !slices.Contains(sent, "done") || slices.Contains(sent, "seven") || slices.Contains(sent, "eight") {
		t.Errorf("%q were sent", sent)
	}
	r.drop(8)
	r.drop(0)
	if r.look(time.Hour, time.Hour); r.open != nil || r.next != 0 {
		t.Errorf("what is left: %+v", r)
	}
}

// The other end is dead if it is silent, or doesn't answer one call though it isn't.
func TestRepeatsDead(t *testing.T) {
	const silence = 10 * time.Second
	for name, c := range map[string]struct {
		heard, running bool
		least, most    time.Duration // 0: it isn't dead
	}{
		"silent":       {false, false, silence, silence + 3*time.Second},
		"not for this": {true, false, unheardFor, unheardFor + 3*time.Second},
		"busy":         {true, true, 0, 0},
	} {
		var r repeats
		r.add(0, 7, []byte("request"))
		var died time.Duration
		for r.next < 10*time.Minute && died == 0 {
			now := r.next
			if c.heard {
				r.heard = now
			}
			if c.running {
				r.running(now, 7)
			}
			if _, dead := r.look(now, silence); dead {
				died = now
			}
		}
		if died < c.least || died > c.most {
			t.Errorf("%s: dead after %v", name, died)
		}
	}
}

func TestRepeatsTimeout(t *testing.T) {
	var r repeats
	call := func(took time.Duration) {
		r.add(0, 1, []byte("x"))
		r.answered(took, 1)
	}
	for range 50 {
		call(100 * time.Millisecond)
	}
	if d := r.timeout(); d < 100*time.Millisecond || d > 150*time.Millisecond {
		t.Errorf("answers take 100 ms, and are waited for for %v", d)
	}
	for range 100 {
		call(time.Microsecond)
	}
	if d := r.timeout(); d != leastRepeat {
		t.Errorf("answers come at once, and are waited for for %v", d)
	}
	for range 100 {
		call(time.Minute)
	}
	if d := r.timeout(); d != mostRepeat {
		t.Errorf("answers take a minute, and are waited for for %v", d)
	}
	before := r.mean
	r.next = 0
	r.add(0, 1, []byte("x"))
	r.look(r.next, time.Hour)
	if r.answered(time.Hour, 1); r.mean != before {
		t.Error("the answer to a request that was sent twice is measured")
	}
}
