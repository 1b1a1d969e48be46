package transport

import (
	"net"
	"slices"
	"testing"
)

func newReadSet(t *testing.T) *ReadSet {
	t.Helper()
	s, err := NewReadSet()
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// wantKeys waits for keys, in any order, and wants no other.
func wantKeys(t *testing.T, s *ReadSet, want ...uint64) {
	t.Helper()
	var got []uint64
	for len(got) < len(want) {
		var keys [3]uint64
		n, err := s.Wait(keys[:])
		must(t, err)
		got = append(got, keys[:n]...)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("keys %x, want %x", got, want)
	}
}

func TestReadSet(t *testing.T) {
	for name, pair := range map[string]makePair{"tcp": tcpPair, "unix": unixPair} {
		t.Run(name, func(t *testing.T) {
			s := newReadSet(t)
			var far []net.Conn
			var near []*RawConn
			for i := range uint64(5) {
				a, b := pair(t)
				far, near = append(far, a), append(near, rawOf(t, b))
				must(t, s.Add(near[i], i<<40|i))
			}
			send(t, far[1], "x")
			wantKeys(t, s, 1<<40|1)
			send(t, far[1], "again") // which is not told again
			send(t, far[2], "x")
			wantKeys(t, s, 2<<40|2)
			must(t, s.Add(near[1], 7)) // there is something to read
			wantKeys(t, s, 7)
			s.Remove(near[3])
			s.Remove(near[3])
			send(t, far[3], "x")
			must(t, far[4].(closeWriter).CloseWrite()) // the end of data can be read, too
			must(t, s.Add(near[0], 1))
			must(t, s.Add(near[0], 2)) // the last key counts
			send(t, far[0], "x")
			wantKeys(t, s, 2, 4<<40|4)
		})
	}
}

// Wait returns when a socket becomes readable, and when the set is closed.
func TestReadSetWaits(t *testing.T) {
	s := newReadSet(t)
	a, b := tcpPair(t)
	must(t, s.Add(rawOf(t, b), 1))
	type result struct {
		key uint64
		err error
	}
	results := make(chan result)
	go func() {
		for {
			var keys [1]uint64
			_, err := s.Wait(keys[:])
			results <- result{keys[0], err}
			if err != nil {
				return
			}
		}
	}()
	send(t, a, "x")
	if r := <-results; r.key != 1 || r.err != nil {
		t.Errorf("got %+v, want key 1", r)
	}
	must(t, s.Close())
	if r := <-results; r.err == nil {
		t.Errorf("Wait after Close: %v", r)
	}
	if err := s.Add(rawOf(t, b), 2); err == nil {
		t.Error("something is added to a closed set")
	}
}

func TestReadSetClosedSocket(t *testing.T) {
	s := newReadSet(t)
	a, b := tcpPair(t)
	c, d := tcpPair(t)
	raw := rawOf(t, b)
	must(t, s.Add(raw, 1))
	must(t, s.Add(rawOf(t, d), 2))
	must(t, b.Close())
	send(t, c, "x")
	wantKeys(t, s, 2)
	wantClosed(t, "Add", raw.fail("add", s.Add(raw, 1)))
	s.Remove(raw)
	a.Close()
}

// Many become readable at once, and each is told once.
func TestReadSetMany(t *testing.T) {
	s := newReadSet(t)
	var want []uint64
	for i := range uint64(200) {
		a, b := unixPair(t)
		must(t, s.Add(rawOf(t, b), i))
		send(t, a, "x")
		want = append(want, i)
	}
	wantKeys(t, s, want...)
}
