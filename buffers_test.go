package flyrpc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestLentBuffers: what is lent has room for what was asked, is at most twice as large, or the least there is, and comes back.
func TestLentBuffers(t *testing.T) {
	var b buffers
	for _, n := range []int{0, 1, bufferSize, bufferSize + 1, partBuffer, partBuffer + 1, 1 << minLarge, 1<<minLarge + 1, 4 << 20, 4<<20 + 1, 1 << maxLarge, 1<<maxLarge + 1} {
		p := b.lend(n)
		if len(p) != 0 || cap(p) < n || cap(p) > max(2*n, bufferSize, partBuffer) {
			t.Errorf("for %d bytes: %d of %d", n, len(p), cap(p))
		}
		b.put(p[:n])
		if again := b.lend(n); cap(again) != cap(p) || len(again) != 0 {
			t.Errorf("for %d bytes again: %d of %d", n, len(again), cap(again))
		}
	}
	b.put(nil)
	b.put(make([]byte, 5, 100_000)) // of no size that is lent
	if p := b.lend(100_000); cap(p) != 1<<minLarge {
		t.Errorf("what was not lent came back: %d", cap(p))
	}
}

// letters are what texts are made of: as long as a prime number, so that no two parts of a large one are the same.
var letters = func() []byte {
	rng, b := rand.New(rand.NewPCG(1, 2)), make([]byte, 65_537)
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(26))
	}
	return b
}()

// textHead is how many bytes a text begins with that say what it is: its call, and a place in that.
const textHead = 10

// ownText returns a text of n bytes, or a few more, that belongs to a place in a call.
func ownText(id uint32, place byte, n int) []byte {
	b := fmt.Appendf(make([]byte, 0, max(n, textHead)), "%08x%02x", id, place)
	for at := int(id*7919+uint32(place)*31) % len(letters); len(b) < n; at = 0 {
		b = append(b, letters[at:min(len(letters), at+n-len(b))]...)
	}
	return b
}

// ownPrefix returns how many of the first bytes of b are those of ownText: all, or those before a run that has another's.
func ownPrefix(id uint32, place byte, b []byte) int {
	if head := ownText(id, place, 0); !bytes.HasPrefix(b, head) {
		return 0
	}
	n := textHead
	for at := int(id*7919+uint32(place)*31) % len(letters); n < len(b); at = 0 {
		run := letters[at:min(len(letters), at+len(b)-n)]
		if !bytes.Equal(b[n:n+len(run)], run) {
			return n
		}
		n += len(run)
	}
	return n
}
