package service_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// rawPacket returns a packet that AppendPacket may refuse to make.
func rawPacket(flag flyrpc.Flag, code, payload string) []byte {
	b := append([]byte{byte(flag), 0, 1}, code...)
	return append(append(b, 0, byte(len(payload))), payload...)
}

// A peer whose codes are longer than a connection takes ends its own calls, and nobody else's.
func TestLongCodes(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving := t.spoiled("s", nil)
		t.to(s.QueueBind("any.>"), func(text string) string { time.Sleep(time.Second); return text })
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		slow := func() <-chan error {
			result := make(chan error, 1)
			go func() { result <- c.Request(t.Context(), "any.slow", "text").Into(nil) }()
			synctest.Wait()
			return result
		}
		long := strings.Repeat("x", 5<<10)

		open := slow()
		calling.set(func(m service.Message) *service.Message {
			m.Data = service.Seal(append(m.Data[:service.HeaderLen+1+len("msgpack")], rawPacket(flyrpc.FlagWait, "any."+long, "")...))
			return &m
		})
		err := c.RequestWithTimeout(t.Context(), "any.x", "text", time.Minute).Into(nil)
		if !errors.Is(err, flyrpc.BadRequest) {
			t.Errorf("a path of 5 KiB: %v", err)
		}
		calling.set(nil)
		if err := <-open; err != nil {
			t.Errorf("another call meanwhile: %v", err)
		}

		open = slow()
		serving.set(func(m service.Message) *service.Message {
			serving.set(nil)
			m.Data = service.Seal(append(m.Data[:service.HeaderLen], rawPacket(flyrpc.FlagResponse, long, "")...))
			return &m
		})
		if err := <-open; !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("an answer with a code of 5 KiB: %v", err)
		}
		if err := <-slow(); err != nil {
			t.Errorf("a call after it: %v", err)
		}
	})
}

// Nobody on the bus can cancel durable work, whose calls have no caller.
func TestDurableCantBeCancelled(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		var tries, done atomic.Int32
		t.to(s.QueueBind("job", service.Durable(nil)), func(ctx *flyrpc.Context) error {
			tries.Add(1)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Second):
				done.Add(1)
				return nil
			}
		})
		var drop []byte
		caller, calling := t.spoiled("caller", nil)
		calling.set(func(m service.Message) *service.Message {
			if m.Subject == "s._FLY" {
				drop = m.Data
			}
			return &m
		})
		t.to(s.QueueBind("wait"), func(ctx *flyrpc.Context) { <-ctx.Done() })
		_ = caller.Service("s").RequestWithTimeout(t.Context(), "wait", nil, time.Second).Into(nil)
		t.check(s.Self().SendDurable(t.Context(), "job", "", nil))
		synctest.Wait()
		for i := range 100 {
			clear(drop[7:23]) // the sender and the call
			drop[22] = byte(i)
			t.check(t.bus.Publish(&service.Message{Subject: "s._FLY", Data: service.Seal(append([]byte(nil), drop...))}))
		}
		time.Sleep(time.Minute)
		if tries.Load() != 1 || done.Load() != 1 {
			t.Errorf("it was tried %d times and done %d times", tries.Load(), done.Load())
		}
	})
}

// A second To is an error that changes nothing.
func TestSecondTo(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		b := t.to(s.QueueBind("x"), func() int { return 1 })
		if err := b.To(func() int { return 2 }); err == nil {
			t.Error("no error")
		}
		var n int
		t.check(s.Self().Request(t.Context(), "x", nil).Into(&n))
		if n != 1 {
			t.Errorf("the handler is that of To number %d", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Next(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next after To: %v", err)
		}
		t.check(s.Self().Request(t.Context(), "x", nil).Into(&n))
		if n != 1 {
			t.Errorf("the handler answers %d after Next", n)
		}
	})
}

// Messages that were taken are handled before Shutdown returns, however many wait within.
func TestShutdownHandlesMessages(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{MaxCalls: 2, MaxMessage: 4 << 10})
		var n atomic.Int32
		t.to(s.QueueBind("slow"), func([]byte) { time.Sleep(time.Second); n.Add(1) })
		t.to(s.Bind("slow"), func([]byte) { time.Sleep(time.Second); n.Add(1) })
		c := t.service("caller", nil).Service("s")
		for i := range 200 {
			t.check(c.Send(t.Context(), "slow", make([]byte, i*20)))
		}
		t.check(s.Shutdown(t.Context()))
		if n.Load() != 400 {
			t.Errorf("%d of 400 were handled", n.Load())
		}
	})
}

// A request on a bus that was closed fails at once, and was not processed.
func TestRequestOnClosedBus(t *testing.T) {
	bubble(t, func(t *net) {
		bus := t.bus.Join()
		s := service.New("s", bus, nil)
		defer s.Close()
		c := s.Self()
		t.check(c.Send(t.Context(), "x", nil))
		bus.Close()
		synctest.Wait()
		if err := c.Request(t.Context(), "x", nil).Into(nil); !errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed && flyrpc.Outcome(err) != flyrpc.NotSent {
			t.Errorf("a request: %v, %v", err, flyrpc.Outcome(err))
		}
	})
}

// Those who wait for an answer of an instance that is closed are told at once.
func TestCloseTellsCallers(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("stuck"), func(ctx *flyrpc.Context) error { <-ctx.Done(); time.Sleep(time.Hour); return ctx.Err() })
		c := t.service("caller", nil).Service("s")
		result := make(chan error, 1)
		go func() { result <- c.Request(t.Context(), "stuck", nil).Into(nil) }()
		synctest.Wait()
		start := time.Now()
		s.Close()
		if err := <-result; !errors.Is(err, flyrpc.Unavailable) || time.Since(start) > time.Second {
			t.Errorf("its caller was told %v after %v", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
	})
}

// Large messages that wait for slow handlers hold up nobody else of the service.
func TestSlowLargeMessages(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{MaxCalls: 2})
		gate := make(chan struct{})
		var n atomic.Int32
		t.to(s.QueueBind("slow"), func([]byte) { <-gate; n.Add(1) })
		t.to(s.QueueBind("len"), func(b []byte) int { return len(b) })
		c := t.service("caller", nil).Service("s")
		const sent = 6
		for range sent {
			t.check(c.Send(t.Context(), "slow", make([]byte, 3<<20)))
		}
		synctest.Wait()
		var got int
		if err := c.RequestWithTimeout(t.Context(), "len", make([]byte, 3<<20), time.Second).Into(&got); err != nil || got != 3<<20 {
			t.Errorf("another subject: %d, %v", got, err)
		}
		stopped := make(chan error, 1)
		time.AfterFunc(10*time.Second, func() { close(gate) })
		go func() { stopped <- s.Shutdown(t.Context()) }()
		t.check(<-stopped)
		if n.Load() != sent {
			t.Errorf("%d of %d messages were handled", n.Load(), sent)
		}
		if held := s.Held(); held != 0 {
			t.Errorf("%d bytes are held by nothing", held)
		}
	})
}

// A large message that nobody fetches is counted as lost where it was sent.
func TestUnfetchedMessage(t *testing.T) {
	bubble(t, func(t *net) {
		deaf := t.bus.Join()
		defer deaf.Close()
		_, err := deaf.Subscribe(service.Subscribe{Subject: "s.x", Handler: func(*service.Message) {}})
		t.check(err)
		caller := t.service("caller", nil)
		t.check(caller.Service("s").Send(t.Context(), "x", make([]byte, 3<<20)))
		time.Sleep(2 * service.DefaultSendTimeout)
		if n := caller.Stats().Lost; n != 1 || caller.Service("s").Held() != 0 {
			t.Errorf("%d messages were lost, %d bytes are held", n, caller.Service("s").Held())
		}
	})
}

// Offers that take no room are limited in their number.
func TestManyOffers(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("x"), func([]byte) {})
		var offer []byte
		caller, calling := t.spoiled("caller", nil)
		calling.set(func(m service.Message) *service.Message {
			if m.Subject == "s.x" {
				offer = m.Data
			}
			return nil
		})
		t.check(caller.Service("s").Send(t.Context(), "x", make([]byte, 3<<20)))
		synctest.Wait()
		clear(offer[service.HeaderLen : service.HeaderLen+8])
		offer[service.HeaderLen+7] = 1
		tap, busy := t.bus.Join(), 0
		defer tap.Close()
		_, err := tap.Subscribe(service.Subscribe{Subject: "tap", Handler: func(m *service.Message) {
			if strings.Contains(string(m.Data), string(flyrpc.Busy)) {
				busy++
			}
		}})
		t.check(err)
		for i := range 1100 {
			offer[16], offer[17] = byte(i>>8), byte(i)
			t.check(t.bus.Publish(&service.Message{Subject: "s.x", Reply: "tap", Data: service.Seal(append([]byte(nil), offer...))}))
		}
		synctest.Wait()
		if busy != 1100-1024 {
			t.Errorf("%d offers were refused", busy)
		}
		time.Sleep(time.Minute)
		if s.Held() != 0 {
			t.Errorf("%d bytes are held by nothing", s.Held())
		}
		calling.set(nil)
		t.check(caller.Service("s").Request(t.Context(), "x", make([]byte, 3<<20)).Into(nil))
	})
}
