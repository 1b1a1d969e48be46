package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// spoiled is a bus whose messages a test may drop or change: what spoil returns is published, nil is nothing.
type spoiled struct {
	service.Bus
	mu    sync.Mutex
	spoil func(m service.Message) *service.Message
}

func (s *spoiled) Publish(m *service.Message) error {
	s.mu.Lock()
	f := s.spoil
	s.mu.Unlock()
	if f != nil {
		c := *m
		c.Data = append([]byte(nil), m.Data...)
		if m = f(c); m == nil {
			return nil
		}
	}
	return s.Bus.Publish(m)
}

func (s *spoiled) set(f func(m service.Message) *service.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = f
}

// spoiled returns an instance whose bus can be spoiled.
func (n *net) spoiled(name string, opts *service.Opts) (*service.Service, *spoiled) {
	b := &spoiled{Bus: n.bus.Join()}
	s := service.New(name, b, opts)
	n.services = append(n.services, s)
	return s, b
}

// dropping returns a spoil that drops the n-th message that is larger than 1 KiB.
func dropping(nth int32) func(m service.Message) *service.Message {
	var n atomic.Int32
	return func(m service.Message) *service.Message {
		if len(m.Data) > 1<<10 && n.Add(1) == nth {
			return nil
		}
		return &m
	}
}

// What the bus loses of a call is an error that says so, or is asked for again.
func TestLostOnTheWay(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving := t.spoiled("s", nil)
		t.to(s.QueueBind("echo"), func(b []byte) []byte { return b })
		t.to(s.QueueBind("count"), func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) })
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		data := make([]byte, 2<<20)

		serving.set(dropping(5))
		err := c.Request(t.Context(), "echo", data).Into(nil)
		if !errors.Is(err, flyrpc.Unavailable) || !strings.Contains(err.Error(), "lost on the way") || flyrpc.Outcome(err) == flyrpc.NotProcessed {
			t.Errorf("a lost part of an answer: %v, %v", err, flyrpc.Outcome(err))
		}
		serving.set(nil)

		calling.set(dropping(7)) // a chunk, which is asked for again
		start := time.Now()
		var got []byte
		t.check(c.Request(t.Context(), "echo", data).Into(&got))
		if len(got) != len(data) || time.Since(start) > service.DefaultSendTimeout {
			t.Errorf("%d bytes after %v", len(got), time.Since(start))
		}

		calling.set(func(m service.Message) *service.Message { // all chunks
			if len(m.Data) > 1<<10 {
				return nil
			}
			return &m
		})
		err = c.Request(t.Context(), "echo", data).Into(nil)
		if !errors.Is(err, flyrpc.Unavailable) || !strings.Contains(err.Error(), "lost on the way") || flyrpc.Outcome(err) != flyrpc.NotProcessed {
			t.Errorf("no chunk comes: %v, %v", err, flyrpc.Outcome(err))
		}

		calling.set(dropping(3)) // of a stream
		err = c.Request(t.Context(), "count", bytes.NewReader(data)).Into(nil)
		if !errors.Is(err, flyrpc.Unavailable) || !strings.Contains(err.Error(), "lost on the way") {
			t.Errorf("a lost part of a stream: %v", err)
		}
		calling.set(nil)
		synctest.Wait()
		if s.Stats().Lost+caller.Stats().Lost < 3 {
			t.Errorf("%d and %d lost calls were counted", s.Stats().Lost, caller.Stats().Lost)
		}
		t.check(c.Request(t.Context(), "echo", data).Into(&got))
	})
}

// A message that was cut or changed is not taken for what it isn't.
func TestCorruptedOnTheWay(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("echo"), func(b []byte) []byte { return b })
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		var got []byte
		for _, spoil := range []func(m service.Message) *service.Message{
			func(m service.Message) *service.Message { m.Data = m.Data[:len(m.Data)-1]; return &m },
			func(m service.Message) *service.Message { m.Data[len(m.Data)/2] ^= 1; return &m },
			func(m service.Message) *service.Message { m.Data = nil; return &m },
		} {
			calling.set(spoil)
			before := s.Stats().Malformed
			if err := c.RequestWithTimeout(t.Context(), "echo", []byte("x"), time.Second).Into(&got); !errors.Is(err, flyrpc.Timeout) {
				t.Errorf("%v, %q", err, got)
			}
			if s.Stats().Malformed == before {
				t.Error("it was not counted")
			}
		}
		calling.set(nil)
		t.check(c.Request(t.Context(), "echo", []byte("x")).Into(&got))
	})
}

// An instance that vanishes amid a stream, and a caller that does, are found out.
func TestVanished(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving := t.spoiled("s", nil)
		ended := make(chan error, 2)
		t.to(s.QueueBind("ticks"), func(st *flyrpc.Stream) error {
			for i := 0; ; i++ {
				if err := st.Send(i); err != nil {
					ended <- err
					return err
				}
			}
		})
		t.to(s.QueueBind("sink"), func(st *flyrpc.Stream) error {
			for {
				if err := st.Recv(nil); err != nil {
					ended <- err
					return err
				}
			}
		})
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		nothing := func(service.Message) *service.Message { return nil }

		st, err := c.OpenStream(t.Context(), "ticks", nil)
		t.check(err)
		t.check(st.Recv(nil))
		calling.set(nothing)
		start := time.Now()
		<-ended
		if took := time.Since(start); took > 3*service.DefaultProbeTime {
			t.Errorf("the handler ended after %v", took)
		}
		calling.set(nil)
		st.Close()

		st, err = c.OpenStream(t.Context(), "sink", nil)
		t.check(err)
		t.check(st.Send(1))
		synctest.Wait()
		serving.set(nothing)
		start = time.Now()
		err = st.Recv(nil)
		if took := time.Since(start); !errors.Is(err, flyrpc.Unavailable) || took > 3*service.DefaultProbeTime {
			t.Errorf("%v after %v", err, took)
		}
		serving.set(nil)
		synctest.Wait()
		<-ended

		st, err = c.OpenStream(t.Context(), "sink", nil) // a silent stream between two that are there goes on
		t.check(err)
		time.Sleep(10 * service.DefaultProbeTime)
		t.check(st.Send(1))
		s.Close()
		if err := st.Recv(nil); !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("the service was closed: %v", err)
		}
	})
}

// A slow handler holds up nobody else: neither other subjects nor the same one's other messages.
func TestSlowHandler(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{MaxCalls: 4})
		gate := make(chan struct{})
		t.to(s.QueueBind("slow"), func() { <-gate })
		t.to(s.QueueBind("quick"), func() int { return 1 })
		c := t.service("caller", nil).Service("s")
		results := make(chan error, 10)
		for range 6 {
			go func() { results <- c.Request(t.Context(), "slow", nil).Into(nil) }()
		}
		for range 2 {
			if err := <-results; !errors.Is(err, flyrpc.Busy) || flyrpc.Outcome(err) != flyrpc.NotProcessed {
				t.Errorf("a request too many: %v, %v", err, flyrpc.Outcome(err))
			}
		}
		for range 100 {
			t.check(c.Request(t.Context(), "quick", nil).Into(nil))
		}
		close(gate)
		for range 4 {
			t.check(<-results)
		}
	})
}

// Messages that nobody takes in time are dropped by the bus, which is counted; others go on.
func TestSlowConsumer(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{MaxCalls: 2, MaxMessage: 1 << 10, Pending: 10})
		gate := make(chan struct{})
		var n atomic.Int32
		t.to(s.QueueBind("slow"), func([]byte) { <-gate; n.Add(1) })
		t.to(s.QueueBind("quick"), func() int { return 1 })
		c := t.service("caller", nil).Service("s")
		const sent = 200
		for range sent {
			t.check(c.Send(t.Context(), "slow", make([]byte, 1<<10)))
		}
		synctest.Wait()
		t.check(c.Request(t.Context(), "quick", nil).Into(nil))
		st := s.Stats()
		if st.Dropped == 0 || st.Dropped > sent {
			t.Errorf("%d were dropped", st.Dropped)
		}
		close(gate)
		synctest.Wait()
		if got := uint64(n.Load()); got+s.Stats().Dropped != sent {
			t.Errorf("%d handled and %d dropped of %d", got, s.Stats().Dropped, sent)
		}
	})
}

// Shutdown has what was taken handled and answered, large messages included, and loses none.
func TestShutdown(t *testing.T) {
	bubble(t, func(t *net) {
		var handled atomic.Int32
		instance := func() *service.Service {
			s := t.service("s", nil)
			t.to(s.QueueBind("work"), func([]byte) error { time.Sleep(time.Second); handled.Add(1); return nil })
			return s
		}
		first, second := instance(), instance()
		caller := t.service("caller", nil)
		c := caller.Service("s")
		const n = 40
		results := make(chan error, n)
		for i := range n {
			size := 10
			if i%4 == 0 {
				size = 2 << 20
			}
			go func() { results <- c.Request(t.Context(), "work", make([]byte, size)).Into(nil) }()
		}
		for range n {
			t.check(c.Send(t.Context(), "work", nil))
		}
		stopped := make(chan error, 2)
		go func() { stopped <- first.Shutdown(t.Context()) }()
		go func() { stopped <- first.Shutdown(t.Context()) }()
		for range n {
			t.check(<-results)
		}
		t.check(<-stopped)
		t.check(<-stopped)
		time.Sleep(2 * time.Second)
		if got := handled.Load(); got != 2*n {
			t.Errorf("%d of %d were handled", got, 2*n)
		}
		t.check(c.Send(t.Context(), "work", make([]byte, 3<<20)))
		t.check(caller.Shutdown(t.Context())) // and the message is fetched
		time.Sleep(2 * time.Second)
		if got := handled.Load(); got != 2*n+1 {
			t.Error("a large message was lost when its sender shut down")
		}
		_ = second
	})
}

// A handler that doesn't end is cut off when Shutdown's context ends.
func TestShutdownInTime(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("stuck"), func(ctx *flyrpc.Context) error { <-ctx.Done(); return ctx.Err() })
		c := t.service("caller", nil).Service("s")
		result := make(chan error, 1)
		go func() { result <- c.Request(t.Context(), "stuck", nil).Into(nil) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := <-result; !errors.Is(err, flyrpc.Unavailable) && !errors.Is(err, flyrpc.Canceled) {
			t.Errorf("its caller was told %v", err)
		}
	})
}

// Bytes that are no messages of FlyRPC do no harm on any subject, whatever they are.
func TestGarbage(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("echo"), func(v string) string { return v })
		tap := t.bus.Join()
		var mu sync.Mutex
		seen := map[string][]byte{}
		_, err := tap.Subscribe(service.Subscribe{Subject: ">", Handler: func(m *service.Message) {
			mu.Lock()
			defer mu.Unlock()
			if !m.NoResponders && len(seen) < 100 {
				seen[m.Subject] = m.Data
			}
		}})
		t.check(err)
		caller := t.service("caller", nil)
		c := caller.Service("s")
		t.check(c.Request(t.Context(), "echo", "x").Into(nil))
		t.check(c.Request(t.Context(), "echo", strings.Repeat("x", 3<<20)).Into(nil))
		synctest.Wait()
		tap.Close()
		rnd := rand.New(rand.NewPCG(1, 2))
		for subject, data := range seen {
			for range 200 {
				b := append([]byte(nil), data...)
				for range rnd.IntN(4) {
					b[rnd.IntN(len(b))] ^= byte(1 << rnd.IntN(8))
				}
				t.check(t.bus.Publish(&service.Message{Subject: subject, Reply: []string{"", "nowhere"}[rnd.IntN(2)], Data: b[:rnd.IntN(len(b)+1)]}))
			}
		}
		synctest.Wait()
		t.check(c.Request(t.Context(), "echo", "x").Into(nil))
		t.check(c.Request(t.Context(), "echo", strings.Repeat("x", 3<<20)).Into(nil))
	})
}

var _ testing.TB = (*net)(nil)
