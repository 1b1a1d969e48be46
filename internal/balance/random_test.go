package balance_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

// model is what a target has to be like, kept as the contract says it.
type model struct {
	up, open, tried bool
	failures        int
	inFlight        int
	pause           time.Duration
	retry           time.Time
}

// session plays operations against a Set and the models of its targets.
type session struct {
	t      *testing.T
	o      balance.Options
	w      *watch
	s      *balance.Set
	models map[*balance.Target]*model
	gone   []*balance.Target
}

const universe = 8 // how many ids there are

func newSession(t *testing.T, strategy balance.Strategy) *session {
	w := newWatch()
	o := balance.Options{Strategy: strategy, Failures: 3, Pause: time.Second, MaxPause: 4 * time.Second, Now: w.time}
	return &session{t: t, o: o, w: w, s: balance.New(o), models: map[*balance.Target]*model{}}
}

// play does what a byte and another say.
func (p *session) play(op, arg byte) {
	all := p.s.Targets()
	if op%8 == 0 || len(all) == 0 {
		p.update(arg)
		return
	}
	target := all[int(arg)%len(all)]
	m := p.models[target]
	switch op % 8 {
	case 1:
		target.Up()
		if !m.up {
			*m = model{up: true, inFlight: m.inFlight}
		}
	case 2:
		target.Down()
		m.up = false
	case 3:
		p.w.advance(time.Duration(arg) * 20 * time.Millisecond)
	case 4:
		target.Begin()
		m.inFlight++
	case 5:
		p.end(target, m, arg)
	default:
		p.pick(op, target)
	}
	if target.IsUp() != m.up || target.IsOpen() != m.open || target.InFlight() != m.inFlight {
		p.t.Fatalf("%s: up %v, open %v, %d in flight; want %+v", target.ID(), target.IsUp(), target.IsOpen(), target.InFlight(), *m)
	}
}

// update has those targets that the bits say.
func (p *session) update(bits byte) {
	var want []string
	for i, id := range ids(universe) {
		if bits>>i&1 == 1 {
			want = append(want, id)
		}
	}
	added, removed := p.s.Update(want)
	for _, target := range added {
		p.models[target] = &model{}
	}
	for _, target := range removed {
		delete(p.models, target)
	}
	p.gone = append(p.gone, removed...)
	if len(p.models) != len(want) || len(p.s.Targets()) != len(want) {
		p.t.Fatalf("%d targets, of which %d are known; want %d", len(p.s.Targets()), len(p.models), len(want))
	}
}

// end ends a call as the argument says.
func (p *session) end(target *balance.Target, m *model, arg byte) {
	if m.inFlight == 0 {
		return
	}
	m.inFlight--
	switch how := arg / universe % 4; {
	case how == 0:
		target.Drop()
	case how == 1:
		target.End(false)
		if !m.open || m.tried {
			m.open, m.tried, m.failures = false, false, 0
		}
	default:
		target.End(true)
		if m.up {
			p.failed(m)
		}
	}
}

// failed is what a failure does to the model of a target.
func (p *session) failed(m *model) {
	m.failures++
	switch {
	case m.open && m.tried:
		m.pause = min(2*m.pause, p.o.MaxPause)
	case !m.open && m.failures >= p.o.Failures:
		m.open, m.pause = true, p.o.Pause
	default:
		return
	}
	m.tried, m.retry = false, p.w.now.Add(m.pause)
}

// pick picks, and holds the target to what the models say.
func (p *session) pick(op byte, not *balance.Target) {
	if op%16 > 7 {
		not = nil
	}
	key := string(rune('a' + op/16))
	possible := 0
	for target, m := range p.models {
		if target != not && m.up && (!m.open || !p.w.now.Before(m.retry)) {
			possible++
		}
	}
	target, err := p.s.Pick(key, not)
	if err != nil {
		if possible > 0 || !errors.Is(err, balance.ErrNone) {
			p.t.Fatalf("%v, and %d could be picked", err, possible)
		}
		return
	}
	m := p.models[target]
	switch {
	case m == nil || !slices.Contains(p.s.Targets(), target):
		p.t.Fatalf("%s is picked, and is gone", target.ID())
	case target == not, !m.up, m.open && p.w.now.Before(m.retry):
		p.t.Fatalf("%s is picked (excluded: %v): %+v", target.ID(), target == not, *m)
	case m.open:
		m.tried, m.retry = true, p.w.now.Add(m.pause)
	}
}

func FuzzSet(f *testing.F) {
	for i := range 3 {
		ops := make([]byte, 1000)
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		f.Add(byte(i), ops)
	}
	f.Fuzz(func(t *testing.T, strategy byte, ops []byte) {
		p := newSession(t, balance.Strategy(strategy%3))
		for ; len(ops) > 1; ops = ops[2:] {
			p.play(ops[0], ops[1])
		}
	})
}

// Random operations keep to the contract, with every strategy.
func TestRandom(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 7))
		p := newSession(t, balance.Strategy(seed%3))
		for range 2000 {
			op := byte(r.Uint32())
			if op%8 == 0 && r.IntN(20) > 0 { // that often, nothing would become of any target
				op++
			}
			p.play(op, byte(r.Uint32()))
		}
	}
}
