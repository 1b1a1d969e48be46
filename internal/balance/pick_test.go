package balance_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

func TestRoundRobin(t *testing.T) {
	s, targets := newSet(balance.Options{}, 3)
	for i := range 7 {
		if got := pick(t, s, "the key means nothing", nil); got != targets[i%3] {
			t.Errorf("pick %d is %s", i, got.ID())
		}
	}
	targets[1].Down()
	picked := map[*balance.Target]int{}
	for range 100 {
		picked[pick(t, s, "", nil)]++
	}
	if picked[targets[0]] != 50 || picked[targets[2]] != 50 {
		t.Errorf("one of three is down, and the picks aren't even: %v", picked)
	}
	for range 10 {
		if got := pick(t, s, "", targets[0]); got != targets[2] {
			t.Errorf("%s was picked, which is down or excluded", got.ID())
		}
	}
}

func TestLeastInFlight(t *testing.T) {
	s, targets := newSet(balance.Options{Strategy: balance.LeastInFlight}, 3)
	for range 9 {
		pick(t, s, "", nil).Begin()
	}
	for _, target := range targets {
		if n := target.InFlight(); n != 3 {
			t.Errorf("%s has %d of 9 calls", target.ID(), n)
		}
	}
	targets[2].End(false)
	targets[2].Drop()
	targets[0].End(true)
	for _, want := range []struct{ not, target *balance.Target }{{nil, targets[2]}, {targets[2], targets[0]}, {targets[0], targets[2]}} {
		for range 3 {
			if got := pick(t, s, "", want.not); got != want.target {
				t.Errorf("without %v: %s is picked, want %s", want.not, got.ID(), want.target.ID())
			}
		}
	}
}

// With many targets all of them get their part, and an excluded one isn't one of those that are compared.
func TestLeastInFlightOfMany(t *testing.T) {
	s, targets := newSet(balance.Options{Strategy: balance.LeastInFlight}, 100)
	for range 10 * len(targets) {
		pick(t, s, "", nil).Begin()
	}
	for _, target := range targets {
		if n := target.InFlight(); n < 8 || n > 12 {
			t.Errorf("%s has %d calls, and the average is 10", target.ID(), n)
		}
	}
}

func TestStickyStays(t *testing.T) {
	s, targets := newSet(balance.Options{Strategy: balance.Sticky}, 5)
	const keys = 5000
	key := func(i int) string { return fmt.Sprintf("user-%d", i) }
	owner := map[int]*balance.Target{}
	count := map[*balance.Target]int{}
	for i := range keys {
		owner[i] = pick(t, s, key(i), nil)
		count[owner[i]]++
	}
	for _, target := range targets {
		if n := count[target]; n < keys/5*8/10 || n > keys/5*12/10 {
			t.Errorf("%s has %d of %d keys", target.ID(), n, keys)
		}
	}
	targets[2].Down()
	moved := map[*balance.Target]int{}
	for i := range keys {
		switch got := pick(t, s, key(i), nil); {
		case owner[i] == targets[2]:
			moved[got]++
		case got != owner[i]:
			t.Fatalf("%s has moved from %s to %s, which is none of its business", key(i), owner[i].ID(), got.ID())
		}
	}
	for i, target := range targets {
		if n := moved[target]; i != 2 && (n < count[targets[2]]/4*7/10 || n > count[targets[2]]/4*13/10) {
			t.Errorf("%s has taken over %d of %d keys", target.ID(), n, count[targets[2]])
		}
	}
	targets[2].Up()
	added, _ := s.Update(append(ids(5), "tcp://new:1"))
	added[0].Up()
	toNew := 0
	for i := range keys {
		if got := pick(t, s, key(i), nil); got == added[0] {
			toNew++
		} else if got != owner[i] {
			t.Fatalf("%s has moved from %s to %s", key(i), owner[i].ID(), got.ID())
		}
	}
	if toNew < keys/6*8/10 || toNew > keys/6*12/10 {
		t.Errorf("the new target has %d of %d keys", toNew, keys)
	}
}

// Other processes agree on who has a key: whatever the order of their targets, and with other versions of this package.
func TestStickyAgreement(t *testing.T) {
	s, _ := newSet(balance.Options{Strategy: balance.Sticky}, 4)
	other := balance.New(balance.Options{Strategy: balance.Sticky})
	reversed := ids(4)
	slices.Reverse(reversed)
	added, _ := other.Update(reversed)
	for _, target := range added {
		target.Up()
	}
	var owners []int
	for i := range 12 {
		key := fmt.Sprintf("order/%0*d", i, i) // of all lengths
		got := pick(t, s, key, nil)
		if theirs := pick(t, other, key, nil); got.ID() != theirs.ID() {
			t.Errorf("%s: %s here, %s there", key, got.ID(), theirs.ID())
		}
		owners = append(owners, slices.Index(s.Targets(), got))
	}
	if want := []int{1, 1, 2, 0, 0, 3, 0, 1, 3, 0, 2, 2}; !slices.Equal(owners, want) {
		t.Errorf("the keys belong to %v, and did to %v: clients of different versions would disagree", owners, want)
	}
}

// Calls without a key are spread, and a hedge of one with a key goes to the same second target each time.
func TestStickyWithoutKey(t *testing.T) {
	s, targets := newSet(balance.Options{Strategy: balance.Sticky}, 3)
	for i := range 6 {
		if got := pick(t, s, "", nil); got != targets[i%3] {
			t.Errorf("pick %d is %s", i, got.ID())
		}
	}
	first := pick(t, s, "k", nil)
	second := pick(t, s, "k", first)
	if second == first || pick(t, s, "k", first) != second {
		t.Errorf("the second target of a key isn't the same one each time, or is the first")
	}
	first.Down()
	if pick(t, s, "k", nil) != second {
		t.Errorf("the key doesn't go to its second target when the first is down")
	}
}

func TestNone(t *testing.T) {
	w := newWatch()
	s := balance.New(balance.Options{Now: w.time, Failures: 1})
	fails := func(not *balance.Target, want balance.NoneError, text string) {
		t.Helper()
		_, err := s.Pick("", not)
		var none *balance.NoneError
		if !errors.Is(err, balance.ErrNone) || !errors.As(err, &none) || *none != want || err.Error() != text {
			t.Errorf("%v (%+v), want %s (%+v)", err, none, text, want)
		}
	}
	fails(nil, balance.NoneError{}, "balance: no target can be used: there are none")
	a, _ := s.Update(ids(3))
	fails(nil, balance.NoneError{Targets: 3, Down: 3}, "balance: no target can be used: of 3, 3 can't be reached")
	a[0].Up()
	fails(a[0], balance.NoneError{Targets: 3, Down: 2, Left: 1}, "balance: no target can be used: of 3, 2 can't be reached, 1 was asked already")
	end(a[0], 1, true)
	w.advance(balance.DefaultPause / 4)
	a[1].Up()
	end(a[1], 1, true)
	fails(nil, balance.NoneError{Targets: 3, Down: 1, Open: 2, Next: balance.DefaultPause * 3 / 4},
		"balance: no target can be used: of 3, 1 can't be reached, 2 left out after failures, and tried again in 750ms")
	if errors.Is(&balance.NoneError{}, errors.ErrUnsupported) {
		t.Errorf("the error is another one")
	}
}

func TestUpdate(t *testing.T) {
	s, first := newSet(balance.Options{}, 3)
	first[1].Begin()
	first[2].Down()
	added, removed := s.Update([]string{first[2].ID(), first[1].ID(), "new", "new", first[1].ID()})
	if len(added) != 1 || added[0].ID() != "new" || added[0].IsUp() || !slices.Equal(removed, first[:1]) {
		t.Errorf("added %v, removed %v", added, removed)
	}
	if want := []*balance.Target{first[2], first[1], added[0]}; !slices.Equal(s.Targets(), want) {
		t.Errorf("the targets are %v, want %v", s.Targets(), want)
	}
	if first[2].IsUp() || !first[1].IsUp() || first[1].InFlight() != 1 {
		t.Errorf("targets have not kept their state")
	}
	for range 3 {
		if got := pick(t, s, "", nil); got != first[1] {
			t.Errorf("%s is picked, which is gone or down", got.ID())
		}
	}
	first[0].Down() // it is gone, so nothing changes
	first[0].Up()
	end(first[0], 10, true)
	if got := pick(t, s, "", nil); got != first[1] {
		t.Errorf("%s is picked, which is gone", got.ID())
	}
	if added, removed = s.Update(nil); len(added) != 0 || len(removed) != 3 {
		t.Errorf("added %v, removed %v", added, removed)
	}
	if _, err := s.Pick("", nil); !errors.Is(err, balance.ErrNone) {
		t.Errorf("Pick without targets: %v", err)
	}
}

// A target that was gone and is back is a new one.
func TestUpdateBack(t *testing.T) {
	s, old := newSet(balance.Options{}, 1)
	s.Update(nil)
	added, _ := s.Update(ids(1))
	if added[0] == old[0] || added[0].IsUp() {
		t.Errorf("the target that is back has its old state")
	}
}
