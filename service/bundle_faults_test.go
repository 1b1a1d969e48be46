package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// All requests of a bundle that nobody is there for fail at once, whichever of them are still open, and no others.
func TestBundleForNobody(t *testing.T) {
	bubble(t, func(t *net) {
		s, _, c, calling := echoes(t, nil)
		other := t.service("s", nil)
		t.to(other.QueueBind("slow"), func() { time.Sleep(time.Minute) })
		slow := make(chan error, 1)
		go func() { slow <- c.RequestWithTimeout(t.Context(), "slow", nil, 2*time.Minute).Into(nil) }()
		synctest.Wait()
		begun := time.Now()
		first, cancel := context.WithCancel(t.Context())
		h, errs := together(t, calling, 20, func(i int) error {
			ctx := t.Context()
			if i == 0 {
				ctx = first
			}
			return c.Request(ctx, "echo", i).Into(nil)
		}, func() {
			s.Close()
			cancel() // of the one that the bundle is named after
			synctest.Wait()
		})
		if got := fmt.Sprint(h.seen()); !strings.Contains(got, "16") {
			t.Errorf("they went as %s", got)
		}
		for i, err := range errs {
			if i == 0 && errors.Is(err, flyrpc.Canceled) {
				continue
			}
			if !errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed {
				t.Errorf("request %d: %v, %v", i, err, flyrpc.Outcome(err))
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		t.check(<-slow)
	})
}

// refusing is a bus that publishes nothing while it is told so.
type refusing struct {
	service.Bus
	refuses atomic.Bool
}

func (r *refusing) Publish(m *service.Message) error {
	if r.refuses.Load() {
		return errors.New("the bus has no room")
	}
	return r.Bus.Publish(m)
}

// What the bus doesn't take fails each request that it had, and is logged for each message.
func TestRefusedBundle(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("echo"), func(v int) int { return v })
		bus := &spoiled{Bus: &refusing{Bus: t.bus.Join()}}
		var log strings.Builder
		caller := service.New("caller", bus, &service.Opts{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		t.services = append(t.services, caller)
		c := caller.Service("s")
		t.check(c.Request(t.Context(), "echo", 1).Into(nil))
		h, errs := together(t, bus, 16, func(i int) error {
			if i == 7 {
				return c.Send(t.Context(), "echo", i)
			}
			return c.Request(t.Context(), "echo", i).Into(nil)
		}, func() { bus.Bus.(*refusing).refuses.Store(true) })
		if got := fmt.Sprint(h.seen()); got != "[16]" {
			t.Errorf("they went as %s", got)
		}
		for i, err := range errs {
			if i != 7 && (!errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed) {
				t.Errorf("request %d: %v, %v", i, err, flyrpc.Outcome(err))
			}
		}
		if n := strings.Count(log.String(), "a message was not sent"); n != 1 {
			t.Errorf("%d messages were logged:\n%s", n, log.String())
		}
		bus.Bus.(*refusing).refuses.Store(false)
		t.check(echo(t, c)(3))
	})
}

// A bundle that is lost fails the calls that were in it by their timeouts, and one that comes twice has its handlers run once.
func TestBundleLostAndTwice(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		gate := make(chan struct{})
		var runs atomic.Int32
		t.to(s.QueueBind("wait"), func() { runs.Add(1); <-gate })
		t.to(s.QueueBind("wait.not"), func() {})
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		for range 2 {
			go func() { gate <- struct{}{} }()
			t.check(c.Request(t.Context(), "wait", nil).Into(nil))
		}
		runs.Store(0)
		call := func(i int) error { return c.RequestWithTimeout(t.Context(), "wait", nil, time.Minute).Into(nil) }
		go func() { time.Sleep(time.Second); gate <- struct{}{} }()
		_, errs := together(t, calling, 10, call, func() {
			first := true
			calling.set(func(m service.Message) *service.Message {
				if framesOf(t, m) == 1 && first {
					return &m
				}
				first = false
				return nil
			})
		})
		for i, err := range errs[:10] {
			if !errors.Is(err, flyrpc.Timeout) {
				t.Errorf("request %d of a lost bundle: %v", i, err)
			}
		}
		t.check(errs[10])
		calling.set(nil)
		t.check(c.Request(t.Context(), "wait.not", nil).Into(nil))
		go func() { gate <- struct{}{} }()
		t.check(call(0))

		runs.Store(0)
		go func() { time.Sleep(time.Second); close(gate) }()
		_, errs = together(t, calling, 10, call, func() {
			calling.set(func(m service.Message) *service.Message {
				t.check(calling.Bus.Publish(&m))
				return &m
			})
		})
		t.check(errors.Join(errs...))
		if n := runs.Load(); n != 11 {
			t.Errorf("handlers ran %d times for 11 calls", n)
		}
	})
}

// Of a bundle that comes after some of its calls were given up, the others alone are handled.
func TestBundleGivenUp(t *testing.T) {
	bubble(t, func(t *net) {
		s, _, c, calling := echoes(t, nil)
		before := s.Stats().Endpoints[0].Requests
		var late *service.Message
		ctx, cancel := context.WithCancel(t.Context())
		_, errs := together(t, calling, 10, func(i int) error {
			if i%2 == 0 && i < 10 {
				return c.Request(ctx, "echo", i).Into(nil)
			}
			return echo(t, c)(i)
		}, func() {
			calling.set(func(m service.Message) *service.Message {
				if framesOf(t, m) == 1 {
					return &m
				}
				late = &m
				go func() {
					synctest.Wait()
					cancel()
					synctest.Wait()
					t.check(t.bus.Publish(late))
				}()
				return nil
			})
		})
		var handled, given int
		for _, err := range errs {
			switch {
			case err == nil:
				handled++
			case errors.Is(err, flyrpc.Canceled):
				given++
			default:
				t.Error(err)
			}
		}
		synctest.Wait()
		if n := s.Stats().Endpoints[0].Requests - before; handled != 6 || given != 5 {
			t.Errorf("%d were handled, %d given up, %d counted", handled, given, n)
		}
	})
}

// Bundles that are none change nothing, wherever they are sent.
func TestMalformedBundles(t *testing.T) {
	bubble(t, func(t *net) {
		s, _, c, calling := echoes(t, &service.Opts{Logger: slog.New(slog.DiscardHandler)})
		var one service.Message
		calling.set(func(m service.Message) *service.Message { one = m; return &m })
		t.check(c.Request(t.Context(), "echo", 1).Into(nil))
		calling.set(nil)
		two := bundleOf(one.Data, one.Data)
		second := len(two) - (len(one.Data) - service.HeaderLen) - 4 - 13 // where the second frame begins
		change := func(at int, b ...byte) []byte {
			m := append([]byte(nil), two...)
			copy(m[at:], b)
			return service.Seal(m)
		}
		many := make([][]byte, service.MaxFrames+1)
		for i := range many {
			many[i] = one.Data
		}
		bad := map[string][]byte{
			"without a length":         service.Seal(append([]byte(nil), two[:service.HeaderLen]...)),
			"a cut length":             service.Seal(append([]byte(nil), two[:service.HeaderLen+2]...)),
			"a cut frame":              service.Seal(append([]byte(nil), two[:len(two)-1]...)),
			"a cut header":             service.Seal(append([]byte(nil), two[:second+9]...)),
			"a length that is too big": change(service.HeaderLen, 0xff, 0xff, 0xff, 0xff),
			"a bundle in a bundle":     change(second, two[second]|0x80),
			"an unknown kind":          change(second, 77),
			"no kind":                  change(second, 0),
			"too many frames":          bundleOf(many...),
			"no check sum":             append(append([]byte(nil), two...), 0),
		}
		for what, data := range bad {
			if n, err := service.Frames(data); err == nil {
				t.Errorf("%s: it has %d frames", what, n)
			}
			before := s.Stats().Malformed
			for _, subject := range []string{"s.echo", "s._FLY", "_INBOX." + s.ID() + ".x"} {
				t.check(t.bus.Publish(&service.Message{Subject: subject, Reply: one.Reply, Data: data}))
			}
			synctest.Wait()
			if n := s.Stats().Malformed - before; n != 3 {
				t.Errorf("%s: %d of 3 were counted", what, n)
			}
			t.check(t.bus.Publish(&service.Message{Subject: one.Reply, Reply: "s.echo", Data: data}))
			t.check(echo(t, c)(7))
		}
		if n, err := service.Frames(bundleOf(many[1:]...)); err != nil || n != service.MaxFrames {
			t.Errorf("a bundle of the most frames: %d, %v", n, err)
		}
		before := s.Stats().Malformed
		t.check(t.bus.Publish(&service.Message{Subject: "s._FLY", Data: two}))
		synctest.Wait()
		if s.Stats().Malformed == before {
			t.Error("a bundle was taken where none can be")
		}
	})
}

// A frame of a bundle that is wrong by itself is refused alone.
func TestBundleWithABadFrame(t *testing.T) {
	bubble(t, func(t *net) {
		s, _, c, calling := echoes(t, &service.Opts{Logger: slog.New(slog.DiscardHandler)})
		before := s.Stats().Malformed
		_, errs := together(t, calling, 10, func(i int) error {
			return c.RequestWithTimeout(t.Context(), "echo", i, time.Minute).Into(nil)
		}, func() {
			calling.set(func(m service.Message) *service.Message {
				if framesOf(t, m) == 1 {
					return &m
				}
				at := service.HeaderLen + 4 + 1 + int(m.Data[service.HeaderLen+4])
				m.Data[at] |= byte(flyrpc.FlagZipCode)
				m.Data = service.Seal(m.Data)
				return &m
			})
		})
		if !errors.Is(errs[0], flyrpc.BadRequest) {
			t.Errorf("the bad one: %v", errs[0])
		}
		t.check(errors.Join(errs[1:]...))
		if n := s.Stats().Malformed - before; n != 1 {
			t.Errorf("%d were counted", n)
		}
	})
}

// FuzzBundle has bytes read as a bus message.
func FuzzBundle(f *testing.F) {
	one := service.Seal(append([]byte{0xf1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5}, make([]byte, 20)...))
	f.Add(one)
	f.Add(bundleOf(one, one, one))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append([]byte(nil), b...)
		n, err := service.Frames(service.Seal(b))
		if err == nil && (n < 1 || n > service.MaxFrames || len(b) < service.HeaderLen+(n-1)*17) {
			t.Errorf("%d bytes have %d frames", len(b), n)
		}
	})
}
