package flyrpc

import (
	"errors"
	"testing"
)

// TestLine: places are taken in order, and one that leaves from the middle changes nothing for the others.
func TestLine(t *testing.T) {
	var l line
	var ts []*ticket
	for range 4 {
		tk, err := l.join(10, 40)
		if err != nil {
			t.Fatal(err)
		}
		ts = append(ts, tk)
	}
	if _, err := l.join(1, 40); !errors.Is(err, Busy) {
		t.Error(err)
	}
	if <-ts[0].turn; len(ts[1].turn) != 0 {
		t.Error("it isn't the second one's turn")
	}
	for _, i := range []int{2, 2, 0} {
		l.leave(ts[i])
	}
	if first, err := l.look(ts[1]); !first || err != nil || len(ts[1].turn) != 1 || len(ts[3].turn) != 0 {
		t.Errorf("the second is first: %v, %v", first, err)
	}
	if l.holds(ts[0]) || !l.holds(ts[3]) || l.holds(nil) || l.bytes != 20 || l.n.Load() != 2 {
		t.Errorf("%d bytes of %d", l.bytes, l.n.Load())
	}
	l.fail(Forbidden)
	if _, err := l.look(ts[3]); !errors.Is(err, Forbidden) {
		t.Error(err)
	}
	if tk, err := l.join(0, 40); err != nil || tk.err != nil {
		t.Error("a later one isn't concerned:", err)
	}
}
