package flyrpc

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLostAnswers(t *testing.T) {
	for _, tc := range []struct {
		name        string
		lost, pings int
		late        int // answers that come in time
		closes      bool
	}{
		{name: "a quarter", lost: 4, closes: true},
		{name: "fewer", lost: 3},
		{name: "late answers", lost: 4, late: 1},
		{name: "pings don't count", lost: 4, late: 1, pings: 16},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := newCallTable(16)
				var lost atomic.Int32
				calls.onLost = func() { lost.Add(1) }
				var slots []*slot
				for range tc.lost {
					s := mustAcquire(t, calls)
					calls.abandon(s)
					calls.letGo(s)
					slots = append(slots, s)
				}
				for range tc.pings {
					s, err := calls.acquirePing()
					if err != nil {
						t.Fatal(err)
					}
					calls.abandon(s)
				}
				time.Sleep(lostAfter - time.Second)
				if lost.Load() != 0 {
					t.Fatal("lost too early")
				}
				for _, s := range slots[:tc.late] {
					respondTo(calls, s.seq, "late")
				}
				time.Sleep(2 * lostAfter)
				if (lost.Load() > 0) != tc.closes {
					t.Errorf("told %d times that too many answers are lost", lost.Load())
				}
				calls.close(Unavailable, Unavailable)
			})
		})
	}
}

// TestCallTableModel does random operations on a table and on a model of it.
func TestCallTableModel(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := callModel{t: t, rnd: rnd, calls: newCallTable(1 + rnd.IntN(12)), open: map[uint16]*slot{}, gone: map[uint16]*slot{}}
		for range 1000 {
			m.step()
			m.check()
		}
	}
}

// callModel is what should be in a table: the sequences of calls that are open and of
// those that were given up.
type callModel struct {
	t          *testing.T
	rnd        *rand.Rand
	calls      *callTable
	open, gone map[uint16]*slot
}

func (m *callModel) step() {
	switch m.rnd.IntN(5) {
	case 0, 1:
		if len(m.open)+len(m.gone) < m.calls.limit {
			s := mustAcquire(m.t, m.calls)
			if m.open[s.seq] != nil || m.gone[s.seq] != nil {
				m.t.Fatalf("sequence %#x is open already", s.seq)
			}
			m.open[s.seq] = s
		}
	case 2: // a response to any sequence
		seq := uint16(m.rnd.IntN(16) + m.rnd.IntN(2)<<slotBits)
		s := m.open[seq]
		if respondTo(m.calls, seq, "x") != (s != nil) {
			m.t.Fatalf("sequence %#x", seq)
		}
		if s != nil {
			<-s.ready
			m.calls.release(s)
		}
		delete(m.open, seq)
		delete(m.gone, seq)
	case 3:
		for seq, s := range m.open {
			if !m.calls.abandon(s) {
				m.t.Fatal("not abandoned")
			}
			m.calls.letGo(s)
			delete(m.open, seq)
			m.gone[seq] = s
			break
		}
	case 4:
		for seq, s := range m.open {
			m.calls.withdraw(s)
			delete(m.open, seq)
			break
		}
	}
}

func (m *callModel) check() {
	c := m.calls
	if c.used != len(m.open)+len(m.gone) || c.abandoned != len(m.gone) || len(c.slots) > c.limit {
		m.t.Fatalf("%d calls, %d abandoned, %d slots; want %d and %d", c.used, c.abandoned, len(c.slots), len(m.open)+len(m.gone), len(m.gone))
	}
}
