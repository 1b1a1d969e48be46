package compress

import (
	"bytes"
	"testing"
)

func TestCOBS(t *testing.T) {
	upTo := func(n int) (b []byte) {
		for i := range n {
			b = append(b, byte(1+i%255))
		}
		return b
	}
	tests := []struct{ plain, stuffed []byte }{
		{nil, []byte{1}},
		{[]byte{0}, []byte{1, 1}},
		{[]byte{0, 0}, []byte{1, 1, 1}},
		{[]byte{0, 7, 0}, []byte{1, 2, 7, 1}},
		{[]byte{7, 8, 0, 9}, []byte{3, 7, 8, 2, 9}},
		{[]byte{7, 0, 0, 0}, []byte{2, 7, 1, 1, 1}},
		{upTo(253), append([]byte{254}, upTo(253)...)},
		{upTo(254), append([]byte{255}, upTo(254)...)},
		{append([]byte{0}, upTo(254)...), append([]byte{1, 255}, upTo(254)...)},
		{upTo(255), append(append([]byte{255}, upTo(254)...), 2, 255)},
		{append(upTo(254), 0), append(append([]byte{255}, upTo(254)...), 1, 1)},
		{append(upTo(253), 0), append(append([]byte{254}, upTo(253)...), 1)},
	}
	for _, test := range tests {
		if got := appendCOBS([]byte("x"), test.plain); !bytes.Equal(got[1:], test.stuffed) {
			t.Errorf("%x became %x, expected %x", test.plain, got[1:], test.stuffed)
		}
		got, ok := appendUnCOBS([]byte("x"), test.stuffed)
		if !ok || !bytes.Equal(got[1:], test.plain) {
			t.Errorf("%x was %x, %v, expected %x", test.stuffed, got[1:], ok, test.plain)
		}
	}
	// A decoder is to take the byte that some encoders write behind a last full piece.
	if got, ok := appendUnCOBS(nil, append(append([]byte{255}, upTo(254)...), 1)); !ok || !bytes.Equal(got, upTo(254)) {
		t.Errorf("%x, %v", got, ok)
	}
	for _, bad := range [][]byte{nil, {0}, {1, 0}, {2}, {3, 7}, {2, 0}, {1, 5, 1, 1}, {255}, {0, 1}} {
		if got, ok := appendUnCOBS(nil, bad); ok {
			t.Errorf("%x was taken for %x", bad, got)
		}
	}
}

func FuzzCOBS(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x02a\x01", "abc\x00def", string(bytes.Repeat([]byte{7}, 600)), string(make([]byte, 300))} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		stuffed := appendCOBS(nil, data)
		if bytes.IndexByte(stuffed, 0) >= 0 || len(stuffed) > len(data)+1+len(data)/cobsPiece {
			t.Fatalf("%x became %x", data, stuffed)
		}
		if back, ok := appendUnCOBS(nil, stuffed); !ok || !bytes.Equal(back, data) {
			t.Fatalf("%x became %x, and that %x", data, stuffed, back)
		}
		// What is stuffed differently is still the same when it is stuffed again.
		plain, ok := appendUnCOBS(nil, data)
		if !ok {
			return
		}
		again := appendCOBS(nil, plain)
		if !bytes.Equal(again, data) && !bytes.Equal(append(again, 1), data) {
			t.Fatalf("%x was %x, which becomes %x", data, plain, again)
		}
	})
}
