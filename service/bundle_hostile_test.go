package service_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// mapping is a bus between whose ends reply subjects are others, as between accounts of NATS: all that come to a service look alike, but for their
// last tokens.
type mapping struct {
	service.Bus
	n *atomic.Int64
}

func (b *mapping) Publish(m *service.Message) error {
	if m.Reply == "" {
		return b.Bus.Publish(m)
	}
	to, c := m.Reply, *m
	c.Reply = fmt.Sprintf("_R_.account.%d", b.n.Add(1))
	_, err := b.Bus.Subscribe(service.Subscribe{Subject: c.Reply, Handler: func(m *service.Message) {
		if !m.NoResponders {
			_ = b.Bus.Publish(&service.Message{Subject: to, Reply: m.Reply, Data: m.Data})
		}
	}})
	if err != nil {
		return err
	}
	return b.Bus.Publish(&c)
}

// Answers to different clients don't share a message, however alike their reply subjects are: each gets its own.
func TestAnswersOfDifferentClients(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving := t.spoiled("s", nil)
		gate := make(chan struct{})
		t.to(s.QueueBind("late"), func(v int) int { <-gate; return v })
		var n atomic.Int64
		var clients [2]*service.Client
		for i := range clients {
			caller := service.New("caller", &mapping{t.bus.Join(), &n}, nil)
			t.services = append(t.services, caller)
			clients[i] = caller.Service("s")
		}
		_, errs := answered(t, serving, 40, gate, func(i int) error { return echoAt(t, clients[i%2], "late")(i) })
		t.check(errors.Join(errs...))
	})
}

// echoAt is echo of another path.
func echoAt(t *net, c *service.Client, path string) func(i int) error {
	return func(i int) error {
		var got int
		err := c.Request(t.Context(), path, i).Into(&got)
		if err == nil && got != i {
			err = fmt.Errorf("got %d for %d", got, i)
		}
		return err
	}
}

// tapped is a bus whose handlers a test may call, with what no bus of its own would carry.
type tapped struct {
	service.Bus
	mu       sync.Mutex
	handlers map[string]func(m *service.Message)
}

func (b *tapped) Subscribe(s service.Subscribe) (service.Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handlers[s.Subject] = s.Handler
	return b.Bus.Subscribe(s)
}

// A request whose reply subject is none, or has a wildcard, costs nobody else an answer.
func TestReplySubjectsThatAreNone(t *testing.T) {
	bubble(t, func(t *net) {
		tap := &tapped{Bus: t.bus.Join(), handlers: map[string]func(*service.Message){}}
		serving := &spoiled{Bus: tap}
		s := service.New("s", serving, &service.Opts{Logger: slog.New(slog.DiscardHandler)})
		t.services = append(t.services, s)
		gate := make(chan struct{})
		var handled atomic.Int32
		t.to(s.QueueBind("late"), func(v int) int { handled.Add(1); <-gate; return v })
		t.to(s.QueueBind("now"), func() {})
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		var last service.Message
		calling.set(func(m service.Message) *service.Message { last = m; return &m })
		go func() { gate <- struct{}{} }()
		t.check(echoAt(t, c, "late")(1))
		calling.set(nil)
		before := s.Stats().Malformed
		handled.Store(0)
		held, errs := answered(t, serving, 10, gate, func(i int) error {
			if i == 0 { // it is the first of those whose answers are ready together
				for id, reply := range []string{"*", ">", "", "a b", strings.Repeat("x", 2000)} {
					m := last
					m.Data = append([]byte(nil), last.Data...)
					m.Data[15], m.Data[16] = 1, byte(id)
					m.Reply = last.Reply[:strings.LastIndexByte(last.Reply, '.')+1] + reply
					m.Data = service.Seal(m.Data)
					tap.handlers["s.late"](&m)
				}
			}
			return echoAt(t, c, "late")(i)
		})
		t.check(errors.Join(errs...))
		if n := s.Stats().Malformed - before; n != 5 || handled.Load() != 11 {
			t.Errorf("%d were counted, %d handled; frames %v", n, handled.Load(), held.seen())
		}
	})
}

// How many requests travel together is a part of those for their path alone, whatever else waits.
func TestShareOfOnePath(t *testing.T) {
	bubble(t, func(t *net) {
		for range 2 {
			s := t.service("s", nil)
			t.to(s.QueueBind("work"), func(v int) int { return v })
			t.to(s.QueueBind("note"), func(int) {})
		}
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		for i := range 2 { // the two take turns
			t.check(echoAt(t, c, "work")(i))
		}
		h, errs := together(t, calling, 44, func(i int) error {
			if i < 40 || i == 44 {
				return c.Send(t.Context(), "note", i)
			}
			return echoAt(t, c, "work")(i)
		}, nil)
		t.check(errors.Join(errs...))
		if seen := h.seen(); fmt.Sprint(seen[40:]) != "[1 1 1 1]" {
			t.Errorf("4 requests for 2 instances went as %v", seen[40:])
		}
	})
}

// shrinking is a bus that takes less than it says until it has refused something, as one that has just connected to another server.
type shrinking struct {
	service.Bus
	most atomic.Int64 // 0: what Bus takes
	told atomic.Bool
}

func (b *shrinking) MaxPayload() int {
	if b.told.Load() {
		return int(b.most.Load())
	}
	return b.Bus.MaxPayload()
}

func (b *shrinking) Publish(m *service.Message) error {
	if most := b.most.Load(); most > 0 && int64(len(m.Data)) > most {
		b.told.Store(true)
		return service.ErrTooLarge
	}
	return b.Bus.Publish(m)
}

// What was gathered for a larger message than the bus takes any more goes in smaller ones.
func TestBundleOfBusThatShrinks(t *testing.T) {
	bubble(t, func(t *net) {
		shrinks := func(name string) (*service.Service, *spoiled, *shrinking) {
			small := &shrinking{Bus: t.bus.Join()}
			bus := &spoiled{Bus: small}
			s := service.New(name, bus, &service.Opts{Logger: slog.New(slog.DiscardHandler)})
			t.services = append(t.services, s)
			return s, bus, small
		}
		s, serving, answers := shrinks("s")
		gate := make(chan struct{})
		t.to(s.QueueBind("echo"), func(b []byte) int { return len(b) })
		t.to(s.QueueBind("late"), func(b []byte) []byte { <-gate; return b })
		caller, calling, asks := shrinks("caller")
		c := caller.Service("s")
		t.check(c.Request(t.Context(), "echo", nil).Into(nil))
		_, errs := together(t, calling, 16, func(i int) error {
			if i == 7 {
				return c.Request(t.Context(), "echo", make([]byte, 1200)).Into(nil)
			}
			return c.Request(t.Context(), "echo", make([]byte, 200)).Into(nil)
		}, func() { asks.most.Store(1 << 10) })
		if !errors.Is(errs[7], flyrpc.TooLong) || flyrpc.Outcome(errs[7]) != flyrpc.NotProcessed {
			t.Errorf("the one that is too large: %v", errs[7])
		}
		errs[7] = nil
		t.check(errors.Join(errs...))

		asks.most.Store(0)
		asks.told.Store(false)
		calling.set(nil)
		_, errs = answered(t, serving, 16, gate, func(i int) error {
			if i == 15 {
				answers.most.Store(1 << 10)
			}
			return c.Request(t.Context(), "late", make([]byte, 200)).Into(nil)
		})
		t.check(errors.Join(errs...))
	})
}

// A message in a bundle of requests has no answer, also when it is refused.
func TestRefusedMessageInBundle(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{MaxMessage: 1 << 10, Logger: slog.New(slog.DiscardHandler)})
		t.to(s.QueueBind("echo"), func(b []byte) int { return len(b) })
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		t.check(c.Request(t.Context(), "echo", nil).Into(nil))
		h, errs := together(t, calling, 4, func(i int) error {
			if i == 2 {
				return c.Send(t.Context(), "echo", make([]byte, 12<<10))
			}
			return c.Request(t.Context(), "echo", nil).Into(nil)
		}, nil)
		t.check(errors.Join(errs...))
		synctest.Wait()
		if got := fmt.Sprint(h.seen()); got != "[4]" {
			t.Errorf("they went as %s", got)
		}
		if a, b := s.Stats().Malformed, caller.Stats().Late; a != 1 || b != 0 {
			t.Errorf("%d were refused, %d answers were late", a, b)
		}
	})
}

// Instances whose answers are always late count as much as the one that is first.
func TestShareOfLateInstances(t *testing.T) {
	bubble(t, func(t *net) {
		t.to(t.service("s", nil).Bind("work"), func(v int) int { return v })
		for range 4 {
			t.to(t.service("s", nil).QueueBind("work"), func(v int) int { time.Sleep(time.Millisecond); return v })
		}
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		for i := range 4 { // the four take turns
			t.check(echoAt(t, c, "work")(i))
		}
		time.Sleep(time.Second)
		h, errs := together(t, calling, 40, echoAt(t, c, "work"), nil)
		t.check(errors.Join(errs...))
		if seen := h.seen(); slices.Max(seen) != 2 {
			t.Errorf("40 requests for 5 instances went as %v", seen)
		}
		time.Sleep(time.Second)
		if n := caller.Stats().Late; n != 45 {
			t.Errorf("%d of 45 answers were late", n)
		}
	})
}
