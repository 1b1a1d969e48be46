package service_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// bundleOf makes a bundle of messages of one frame, whose sender is the first one's.
func bundleOf(messages ...[]byte) []byte {
	var b []byte
	for i, m := range messages {
		h := m[:service.HeaderLen]
		if i == 0 {
			b = append(b, h...)
			b[6] |= 0x80
		} else {
			b = append(append(b, h[6]), h[15:]...)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(m)-len(h)))
		b = append(b, m[len(h):]...)
	}
	return service.Seal(b)
}

// framesOf returns how many frames a message has.
func framesOf(t *net, m service.Message) int {
	t.Helper()
	n, err := service.Frames(m.Data)
	t.check(err)
	return n
}

// held is a spoil that holds the first message back, and with it all that its end wants to publish meanwhile, until let is closed. Then it notes how
// many frames those have that come.
type held struct {
	t      *net
	let    chan struct{}
	first  atomic.Bool
	mu     sync.Mutex
	frames []int
	bytes  int // of the largest
}

func hold(t *net, bus *spoiled) *held {
	synctest.Wait() // for what is on its way: who takes it would wait for the lock of whoever publishes
	h := &held{t: t, let: make(chan struct{})}
	bus.set(h.spoil)
	return h
}

func (h *held) spoil(m service.Message) *service.Message {
	if !h.first.Swap(true) {
		<-h.let
		return &m
	}
	if m.Data[6] == service.KindAlive { // which only says that there may be more messages
		return &m
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames = append(h.frames, framesOf(h.t, m))
	h.bytes = max(h.bytes, len(m.Data))
	return &m
}

// seen returns the frames of those that came.
func (h *held) seen() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int(nil), h.frames...)
}

// together makes n calls so that all wait to be sent at once, behind one more. then is called before they are. It returns their errors.
func together(t *net, bus *spoiled, n int, call func(i int) error, then func()) (*held, []error) {
	h := hold(t, bus)
	errs := make([]error, n+1)
	var wg sync.WaitGroup
	wg.Go(func() { errs[n] = call(n) })
	synctest.Wait()
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
		synctest.Wait() // so that they wait in order
	}
	if then != nil {
		then()
	}
	close(h.let)
	wg.Wait()
	return h, errs
}

// answered makes n calls and one more, whose handlers wait for gate, and has all answers ready while the first of them is being sent.
func answered(t *net, bus *spoiled, n int, gate chan struct{}, call func(i int) error) (*held, []error) {
	errs := make([]error, n+1)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = call(i) })
	}
	synctest.Wait()
	h := hold(t, bus)
	gate <- struct{}{}
	synctest.Wait()
	close(gate)
	synctest.Wait()
	close(h.let)
	wg.Wait()
	return h, errs
}

// echoes is a service that echoes, and a caller whose bus can be spoiled, which has heard of it.
func echoes(t *net, opts *service.Opts) (s *service.Service, serving *spoiled, c *service.Client, calling *spoiled) {
	t.Helper()
	s, serving = t.spoiled("s", opts)
	t.to(s.QueueBind("echo"), func(v int) int { return v })
	caller, calling := t.spoiled("caller", opts)
	c = caller.Service("s")
	t.check(c.Request(t.Context(), "echo", 1).Into(nil))
	return s, serving, c, calling
}

// echo calls an echo.
func echo(t *net, c *service.Client) func(i int) error {
	return func(i int) error {
		var got int
		err := c.Request(t.Context(), "echo", i).Into(&got)
		if err == nil && got != i {
			err = fmt.Errorf("got %d for %d", got, i)
		}
		return err
	}
}

// Requests that wait at the same moment travel together where one instance is known, one by one where none is, and so do their answers.
func TestBundles(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving, c, calling := echoes(t, nil)
		h, errs := together(t, calling, 40, echo(t, c), nil)
		t.check(errors.Join(errs...))
		if got := fmt.Sprint(h.seen()); got != "[16 16 8]" {
			t.Errorf("40 requests went as %s", got)
		}
		if n := s.Stats().Endpoints[0].Requests; n != 42 {
			t.Errorf("%d of 42 requests were counted", n)
		}

		calling.set(nil)
		gate := make(chan struct{})
		t.to(s.QueueBind("late"), func(v int) int { <-gate; return v })
		h, errs = answered(t, serving, 40, gate, func(i int) error { return c.Request(t.Context(), "late", i).Into(nil) })
		t.check(errors.Join(errs...))
		if got := fmt.Sprint(h.seen()); got != "[40]" {
			t.Errorf("40 answers went as %s", got)
		}

		serving.set(nil)
		t.to(s.QueueBind("slow"), func(v int) int { time.Sleep(time.Second); return v }) // so that no answer comes before all are sent
		slow := func(i int) error { return c.Request(t.Context(), "slow", i).Into(nil) }
		t.check(slow(0))
		time.Sleep(2 * service.HeardTime)
		h, errs = together(t, calling, 5, slow, nil)
		t.check(errors.Join(errs...))
		if got := fmt.Sprint(h.seen()); got != "[1 1 1 1 1]" {
			t.Errorf("with no instance known 5 requests went as %s", got)
		}
	})
}

// Where the bus delivers one answer to a reply subject, and no more, requests don't travel together.
func TestBundlesOfOneAnswer(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving, c, calling := echoes(t, nil)
		gate := make(chan struct{})
		t.to(s.QueueBind("late"), func(v int) int { <-gate; return v })
		var mu sync.Mutex
		answered := map[string]bool{}
		once := func(m service.Message) *service.Message {
			mu.Lock()
			defer mu.Unlock()
			if answered[m.Subject] {
				return nil
			}
			answered[m.Subject] = true
			return &m
		}
		serving.set(once)
		time.AfterFunc(time.Second, func() { close(gate) })
		t.check(c.Request(t.Context(), "late", 0).Into(nil))
		h, errs := together(t, calling, 40, func(i int) error { return c.Request(t.Context(), "late", i).Into(nil) }, nil)
		t.check(errors.Join(errs...))
		if n := len(h.seen()); n != 40 {
			t.Errorf("40 requests went in %d messages", n)
		}

		serving.set(nil) // the bus is mended, and the instance shows it within a minute
		calling.set(nil)
		time.Sleep(service.ShowTime)
		t.check(c.Request(t.Context(), "late", 0).Into(nil))
		h, errs = together(t, calling, 40, func(i int) error { return c.Request(t.Context(), "late", i).Into(nil) }, nil)
		t.check(errors.Join(errs...))
		if got := fmt.Sprint(h.seen()); got != "[16 16 8]" {
			t.Errorf("40 requests went as %s", got)
		}
	})
}

// A bundle has no more bytes than the bus takes.
func TestBundlesOfSmallBus(t *testing.T) {
	bubble(t, func(t *net) {
		t.bus = membus.New(&membus.Options{MaxPayload: 1 << 10})
		s, serving := t.spoiled("s", nil)
		gate := make(chan struct{})
		t.to(s.QueueBind("echo"), func(b []byte) []byte { return b })
		t.to(s.QueueBind("late"), func(b []byte) []byte { <-gate; return b })
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		t.check(c.Request(t.Context(), "echo", nil).Into(nil))
		call := func(path string) func(int) error {
			return func(int) error { return c.Request(t.Context(), path, make([]byte, 300)).Into(nil) }
		}
		ask, errs := together(t, calling, 12, call("echo"), nil)
		t.check(errors.Join(errs...))
		calling.set(nil)
		reply, errs := answered(t, serving, 12, gate, call("late"))
		t.check(errors.Join(errs...))
		for _, h := range []*held{ask, reply} {
			if got := fmt.Sprint(h.seen()); h.bytes > 1<<10 || !strings.HasPrefix(got, "[3 3 ") && !strings.HasPrefix(got, "[2 2 ") {
				t.Errorf("12 messages of 300 bytes went as %s, with up to %d bytes", got, h.bytes)
			}
		}
	})
}

// Messages keep their places among requests to the same subject, and aren't lost.
func TestBundledMessages(t *testing.T) {
	bubble(t, func(t *net) {
		var mu sync.Mutex
		var order []int
		s := t.service("s", &service.Opts{MaxCalls: 1})
		t.to(s.QueueBind("note"), func(ctx *flyrpc.Context, v int) {
			mu.Lock()
			defer mu.Unlock()
			if ctx.Packet().Flag&flyrpc.FlagWait == 0 {
				order = append(order, v)
			}
		})
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		t.check(c.Request(t.Context(), "note", 1).Into(nil))
		h, errs := together(t, calling, 20, func(i int) error {
			if i%10 == 5 {
				return c.RequestWithTimeout(t.Context(), "note", i, time.Second).Into(nil)
			}
			return c.Send(t.Context(), "note", i)
		}, nil)
		for i, err := range errs {
			if err != nil && !errors.Is(err, flyrpc.Busy) {
				t.Errorf("%d: %v", i, err)
			}
		}
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[20 0 1 2 3 4 6 7 8 9 10 11 12 13 14 16 17 18 19]" {
			t.Errorf("they were taken as %s", got)
		}
		if got := fmt.Sprint(h.seen()); got != "[16 4]" {
			t.Errorf("they went as %s", got)
		}
	})
}

func TestShare(t *testing.T) {
	for _, x := range []struct{ instances, queued, want int }{
		{0, 1, 1},
		{0, 1000, 1},
		{1, 1, 1},
		{1, 2, 16},
		{1, 1000, 16},
		{2, 2, 1},
		{2, 16, 2},
		{2, 128, 16},
		{4, 15, 1},
		{4, 31, 1},
		{4, 32, 2},
		{4, 128, 8},
		{4, 10_000, 16},
		{100, 128, 1},
		{1000, 255, 1},
	} {
		if got := service.Share(x.instances, x.queued); got != x.want {
			t.Errorf("of %d requests for %d instances %d may travel together, want %d", x.queued, x.instances, got, x.want)
		}
	}
}

// With several instances the work is spread over them as evenly as without bundles, to a quarter.
func TestSpreadOfBundles(t *testing.T) {
	const instances, callers, calls = 4, 128, 50
	bus := membus.New(nil)
	defer bus.Close()
	var counts [instances]atomic.Int64
	for i := range counts {
		s := service.New("s", bus.Join(), nil)
		defer s.Close()
		if err := s.QueueBind("work").To(func() { counts[i].Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	caller := service.New("caller", bus.Join(), nil)
	defer caller.Close()
	c := caller.Service("s")
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if err := c.Request(t.Context(), "work", nil).Into(nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	const each = callers * calls / instances
	for i := range counts {
		if n := counts[i].Load(); n < each*3/4 || n > each*5/4 {
			t.Errorf("instance %d had %d calls of %d", i, n, each)
		}
	}
}
