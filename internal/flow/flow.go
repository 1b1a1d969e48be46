// Package flow is the arithmetic of credit: how many bytes each side may send, and
// who may have memory to put together what is larger. It does no I/O and takes no locks; its
// values are guarded by whoever has them.
package flow

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// Overhead is what a packet takes from an account beside the bytes of its payload.
	Overhead = 32
	// Max is the most an account may hold.
	Max = 1<<31 - 1
)

// The ways in which a peer breaks the rules.
var (
	ErrOverrun  = errors.New("flow: the peer has sent more than its credit")
	ErrOverflow = errors.New("flow: the account would exceed 2^31-1")
)

// Cost returns what a packet with n bytes of payload takes.
func Cost(n int) int { return n + Overhead }

// Part returns the largest payload of one packet to a receiver whose initial credit is
// window: the packet takes at most half of that. It is at least 1.
func Part(window int) int { return max(1, window/2-Overhead) }

// Credit is a sender's account. The zero Credit is empty.
type Credit struct{ left int }

// NewCredit returns an account that holds n, cut to Max.
func NewCredit(n int) Credit { return Credit{min(n, Max)} }

// Left returns what the account holds.
func (c *Credit) Left() int { return c.left }

// Take takes n, if the account holds as much, and reports whether it did.
func (c *Credit) Take(n int) bool {
	if n > c.left {
		return false
	}
	c.left -= n
	return true
}

// Add adds n that the receiver has granted. It fails with ErrOverflow, changing nothing, beyond Max.
func (c *Credit) Add(n uint64) error {
	if n > uint64(Max-c.left) {
		return fmt.Errorf("%w: it holds %d and is granted %d", ErrOverflow, c.left, n)
	}
	c.left += int(n)
	return nil
}

// Window is a receiver's account of what a sender may send. The zero Window lets
// nothing in.
type Window struct {
	size int // the initial credit
	left int // what the sender may send before it is granted more
	due  int // what was returned and not granted
}

// NewWindow returns a Window of size bytes, cut to Max.
func NewWindow(size int) Window {
	size = min(size, Max)
	return Window{size: size, left: size}
}

// Take charges n for what has come. It fails with ErrOverrun, changing nothing, if that is more than was granted.
func (w *Window) Take(n int) error {
	if n > w.left {
		return fmt.Errorf("%w: %d, and %d were left", ErrOverrun, n, w.left)
	}
	w.left -= n
	return nil
}

// Return gives back n that was charged. Grant says when the sender is to be told.
func (w *Window) Return(n int) { w.due += n }

// Grant returns what the sender is to be granted now: nothing until what was returned is
// half of the window. The sender may then send as much more.
func (w *Window) Grant() int {
	if w.due == 0 || 2*w.due < w.size {
		return 0
	}
	n := w.due
	w.left += n
	w.due = 0
	return n
}

// Held returns what was charged and not returned.
func (w *Window) Held() int { return w.size - w.left - w.due }

// Turns gives something that there are a few of to as many claims at a time, the oldest first.
type Turns[C comparable] struct {
	places int
	claims []C
}

// NewTurns returns Turns without claims that gives as many as there are places.
func NewTurns[C comparable](places int) Turns[C] { return Turns[C]{places: places} }

// Claim adds c, unless it has a claim already, and reports whether it has its turn.
func (t *Turns[C]) Claim(c C) bool {
	if !slices.Contains(t.claims, c) {
		t.claims = append(t.claims, c)
	}
	return t.Has(c)
}

// Len returns how many claims there are.
func (t *Turns[C]) Len() int { return len(t.claims) }

// Has reports whether it is c's turn.
func (t *Turns[C]) Has(c C) bool {
	return slices.Contains(t.claims[:min(t.places, len(t.claims))], c)
}

// Drop removes the claim of c, if it has one. If that ends its turn, it returns whose turn it is next.
func (t *Turns[C]) Drop(c C) (next C, ok bool) {
	i := slices.Index(t.claims, c)
	if i < 0 {
		return next, false
	}
	t.claims = slices.Delete(t.claims, i, i+1)
	if i >= t.places || len(t.claims) < t.places {
		return next, false
	}
	return t.claims[t.places-1], true
}
