package transport

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A ring is held against a plain slice through random operations.
func TestRing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r ring
	var want []byte
	var next byte
	for range 20_000 {
		switch random.IntN(20) {
		case 0:
			k := random.IntN(len(want) + 1)
			r.keep(k)
			want = want[:k]
		case 1, 2, 3, 4, 5, 6, 7, 8, 9:
			b := make([]byte, random.IntN(700))
			for i := range b {
				b[i], next = next, next+1
			}
			r.push(b)
			want = append(want, b...)
		default:
			b := make([]byte, random.IntN(min(len(want), 700)+1))
			r.pop(b)
			if !bytes.Equal(b, want[:len(b)]) {
				t.Fatal("popped other bytes than were pushed")
			}
			want = want[len(b):]
		}
		if r.n != len(want) {
			t.Fatalf("holds %d bytes, want %d", r.n, len(want))
		}
	}
}
