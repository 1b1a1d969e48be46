package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// A durable binding never takes its own dead letters.
func TestDeadLettersLeave(t *testing.T) {
	for pattern, dead := range map[string]string{
		"job.>": "job-dead", "job.a.>": "job-a-dead", "job.*": "job._.dead", "*": "_.dead", "*.>": "_-dead", "job": "job.dead", "/job/ü": "job.%C3%BC.dead",
	} {
		bubble(t, func(t *net) {
			s := t.service("s", nil)
			var tries atomic.Int32
			t.to(s.QueueBind(pattern, service.Durable(&service.DurableOpts{Tries: 2})), func() error {
				tries.Add(1)
				return errors.New("no")
			})
			letters := make(chan string, 10)
			t.to(s.QueueBind(dead, service.Durable(nil)), func(text string) { letters <- text })
			subject := map[string]string{"job.>": "job.a.b", "job.a.>": "job.a.b", "job.*": "job.a", "*": "job", "*.>": "job.a", "job": "job", "/job/ü": "/job/ü"}[pattern]
			t.check(s.Self().SendDurable(t.Context(), subject, "id", "text"))
			time.Sleep(time.Hour)
			if n := tries.Load(); n != 2 || len(letters) != 1 {
				t.Errorf("%s: %d tries, not 2, and %d dead letters, not 1", pattern, n, len(letters))
			}
		})
	}
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		for pattern, o := range map[string]*service.DurableOpts{">": nil, "job.>": {DeadLetter: "job.dead"}, "a.*": {DeadLetter: "a.dead"}, "b": {DeadLetter: "b c"}} {
			if err := s.QueueBind(pattern, service.Durable(o)).To(func() {}); err == nil {
				t.Errorf("%s was bound with dead letters to %+v", pattern, o)
			}
		}
	})
}

// That a call was given up may be there before the call is: its handler then doesn't run.
func TestCancelOvertakesRequest(t *testing.T) {
	for _, size := range []int{1, 2 << 20} {
		bubble(t, func(t *net) {
			s := t.service("s", nil)
			var ran atomic.Int32
			t.to(s.QueueBind("wait"), func(ctx *flyrpc.Context, b []byte) error {
				ran.Add(1)
				<-ctx.Done()
				return ctx.Err()
			})
			caller, calling := t.spoiled("caller", nil)
			held := make(chan *service.Message, 1)
			calling.set(func(m service.Message) *service.Message {
				if m.Subject == "s.wait" {
					held <- &m
					return nil
				}
				return &m
			})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if err := caller.Service("s").Call(ctx, "wait", make([]byte, size), nil); !errors.Is(err, flyrpc.Canceled) {
				t.Error(err)
			}
			synctest.Wait()
			t.check(t.bus.Publish(<-held))
			synctest.Wait()
			if ran.Load() != 0 {
				t.Error("the handler of a call that was given up runs")
			}
			ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// A durable message of any size that is taken can become a dead letter, whose subject is longer than its own.
func TestLargeDeadLetter(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{Logger: slog.New(slog.DiscardHandler)})
		t.to(s.QueueBind("j", service.Durable(&service.DurableOpts{Tries: 1})), func([]byte) error { return errors.New("no") })
		var dead atomic.Int32
		t.to(s.QueueBind("j.dead", service.Durable(nil)), func(ctx *flyrpc.Context, b []byte) { dead.Add(1) })
		sent := int32(0)
		for size := 1<<20 - 1160; size < 1<<20; size += 30 {
			err := s.Self().SendDurable(t.Context(), "j", fmt.Sprintf("%0100d", size), make([]byte, size))
			switch {
			case err == nil:
				sent++
			case !errors.Is(err, flyrpc.TooLong):
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if n := dead.Load(); n != sent || n == 0 {
			t.Errorf("%d dead letters of %d", n, sent)
		}
	})
}

// A large broadcast reaches all, also while one of them is slow and another vanishes amid it.
func TestLargeBroadcast(t *testing.T) {
	bubble(t, func(t *net) {
		var mu sync.Mutex
		got := map[int]int{}
		data := bytes.Repeat([]byte("0123456789"), 300_000)
		var vanishing *spoiled
		for i := range 5 {
			var s *service.Service
			if i == 4 {
				s, vanishing = t.spoiled("s", nil)
			} else {
				s = t.service("s", nil)
			}
			t.to(s.Bind("all"), func(b []byte) {
				if i == 0 {
					time.Sleep(time.Minute)
				}
				mu.Lock()
				defer mu.Unlock()
				if bytes.Equal(b, data) {
					got[i]++
				}
			})
		}
		var n atomic.Int32
		vanishing.set(func(m service.Message) *service.Message {
			if n.Add(1) > 2 {
				return nil
			}
			return &m
		})
		caller := t.service("caller", nil)
		for range 10 {
			t.check(caller.Service("s").Send(t.Context(), "all", data))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		t.check(caller.Shutdown(ctx))
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		for i := range 4 {
			if got[i] != 10 {
				t.Errorf("instance %d was given %d of 10", i, got[i])
			}
		}
	})
}

// Messages that are large for the bus and small enough to need no credit leave nothing behind of the room that they wait for.
func TestRoomComesBack(t *testing.T) {
	bubble(t, func(t *net) {
		o := &service.Opts{MaxMessage: 300 << 10, MaxHeld: 1}
		s := t.service("s", nil)
		t.to(s.QueueBind("len"), func(b []byte) int { time.Sleep(time.Second); return len(b) })
		c := t.service("caller", o).Service("s")
		for range 5 {
			results := make(chan error, 30)
			for i := range cap(results) {
				go func() {
					results <- c.RequestWithTimeout(t.Context(), "len", make([]byte, 20<<10+i*7<<10), 20*time.Second).Into(nil)
				}()
			}
			for range cap(results) {
				t.check(<-results)
			}
		}
		t.check(c.Request(t.Context(), "len", make([]byte, 300<<10)).Into(nil))
		if held := s.Held() + c.Held(); held != 0 {
			t.Errorf("%d bytes are held by nothing", held)
		}
	})
}
