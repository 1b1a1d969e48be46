package flow

import (
	"errors"
	"math"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCredit(t *testing.T) {
	c := NewCredit(100)
	if !c.Take(100) || c.Take(1) || c.Left() != 0 || !c.Take(0) {
		t.Errorf("after taking all: %+v", c)
	}
	if err := c.Add(Max); err != nil || c.Left() != Max {
		t.Errorf("adding Max: %v, %d left", err, c.Left())
	}
	for _, n := range []uint64{1, Max, math.MaxUint64} {
		if err := c.Add(n); !errors.Is(err, ErrOverflow) || c.Left() != Max {
			t.Errorf("adding %d to Max: %v, %d left", n, err, c.Left())
		}
	}
	if c := NewCredit(math.MaxInt); c.Left() != Max {
		t.Errorf("%d left of MaxInt", c.Left())
	}
}

func TestWindow(t *testing.T) {
	w := NewWindow(100)
	if err := w.Take(60); err != nil {
		t.Error(err)
	}
	if err := w.Take(41); !errors.Is(err, ErrOverrun) || w.Held() != 60 {
		t.Errorf("taking too much: %v, %d held", err, w.Held())
	}
	w.Return(49)
	if n := w.Grant(); n != 0 || w.Held() != 11 {
		t.Errorf("granted %d, %d held", n, w.Held())
	}
	w.Return(1)
	if n := w.Grant(); n != 50 || w.Held() != 10 {
		t.Errorf("granted %d, %d held", n, w.Held())
	}
	if n := w.Grant(); n != 0 {
		t.Errorf("granted %d twice", n)
	}
	if err := w.Take(90); err != nil {
		t.Error(err)
	}
	if err := new(Window).Take(1); !errors.Is(err, ErrOverrun) {
		t.Errorf("zero Window: %v", err)
	}
}

// A sender whose packets take at most what Part says never waits for a receiver that takes
// everything, however small the window.
func TestPartNeverStalls(t *testing.T) {
	for _, window := range []int{2 * (Overhead + 1), 100, 1000, 64 << 10, 256 << 10} {
		c, w := NewCredit(window), NewWindow(window)
		for i := range 1000 {
			n := Cost(1 + i*7919%Part(window))
			if !c.Take(n) {
				t.Fatalf("window %d: packet %d stalls: it takes %d, %d are left", window, i, n, c.Left())
			}
			if err := w.Take(n); err != nil {
				t.Fatal(err)
			}
			w.Return(n)
			if err := c.Add(uint64(w.Grant())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if Part(0) != 1 {
		t.Errorf("Part(0) is %d", Part(0))
	}
}

func TestTurns(t *testing.T) {
	turns := NewTurns[string](2)
	has := func(want string) {
		t.Helper()
		for _, c := range []string{"a", "b", "c", "d"} {
			if turns.Has(c) != strings.Contains(want, c) {
				t.Errorf("%s has its turn: %v, in %+v", c, turns.Has(c), turns)
			}
		}
	}
	drop := func(c, want string) {
		t.Helper()
		if next, ok := turns.Drop(c); next != want || ok != (want != "") {
			t.Errorf("after %s: %q, %v, want %q", c, next, ok, want)
		}
	}
	if !turns.Claim("a") || !turns.Claim("b") || turns.Claim("c") || turns.Claim("d") {
		t.Errorf("%+v", turns)
	}
	has("ab")
	if !turns.Claim("a") || !turns.Claim("b") || turns.Claim("c") {
		t.Error("claiming again changed something")
	}
	drop("c", "")
	has("ab")
	drop("a", "d")
	has("bd")
	drop("x", "")
	drop("d", "")
	has("b")
	drop("b", "")
	has("")
	if turns.Len() != 0 {
		t.Errorf("%d claims are left", turns.Len())
	}
	if !turns.Claim("c") {
		t.Error("no turn though all places are free")
	}
}
