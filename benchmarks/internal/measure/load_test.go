package measure

import (
	"errors"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// slow is a client whose calls take a millisecond, and one at a time if alone.
type slow struct {
	err   error
	alone chan struct{}
}

func (s slow) Caller(m *peers.Message) func() (peers.Message, error) {
	return func() (peers.Message, error) {
		if s.alone != nil {
			s.alone <- struct{}{}
			defer func() { <-s.alone }()
		}
		time.Sleep(time.Millisecond)
		return *m, s.err
	}
}

func (slow) Close() error { return nil }

func load(c peers.Client) *Load {
	return &Load{
		Client: c, Message: peers.NewMessage(peers.Small), Callers: 4,
		Warmup: 5 * time.Millisecond, Time: 50 * time.Millisecond,
		Usage: func() (Usage, error) { return ReadUsage(), nil },
	}
}

func TestClosed(t *testing.T) {
	calls, err := load(slow{}).Closed()
	if err != nil {
		t.Fatal(err)
	}
	if n := calls.Latency.Total(); n < 4 || n > 200 {
		t.Errorf("%d calls", n)
	}
	if p50 := calls.Latency.Quantile(0.5); p50 < 900*time.Microsecond {
		t.Errorf("p50 is %v", p50)
	}
	if calls.Time < 50*time.Millisecond || calls.Used.Mallocs == 0 {
		t.Errorf("%+v", calls.Used)
	}
}

// TestOpenCountsWaiting offers more calls than the client can make: those that wait
// for others have their waiting in their latency.
func TestOpenCountsWaiting(t *testing.T) {
	calls, err := load(slow{alone: make(chan struct{}, 1)}).Open(2000)
	if err != nil {
		t.Fatal(err)
	}
	if n := calls.Latency.Total(); n != 100 {
		t.Errorf("%d calls, want all that were due", n)
	}
	if p99 := calls.Latency.Quantile(0.99); p99 < 20*time.Millisecond {
		t.Errorf("p99 is %v, although they had to wait", p99)
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := load(slow{err: broken}).Closed(); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := load(slow{err: broken}).Open(1000); !errors.Is(err, broken) {
		t.Error(err)
	}
	l := load(slow{})
	l.Usage = func() (Usage, error) { return Usage{}, broken }
	if _, err := l.Closed(); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	a := ReadUsage()
	b := a.Plus(a).Minus(a)
	if a != b {
		t.Errorf("%+v is not %+v", b, a)
	}
	m := ReadMemory()
	if m.Go == 0 || m.Minus(m) != (Memory{}) {
		t.Errorf("%+v", m)
	}
}
