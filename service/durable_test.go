package service_test

import (
	"errors"
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

type job struct{ N int }

func TestDurable(t *testing.T) {
	bubble(t, func(t *net) {
		var mu sync.Mutex
		var got []int
		for range 2 {
			t.to(t.service("s", nil).QueueBind("jobs.*", service.Durable(nil)), func(ctx *flyrpc.Context, j *job) error {
				mu.Lock()
				defer mu.Unlock()
				if ctx.Meta().Get("k") != "v" || ctx.Path() != "/jobs/add" {
					t.Errorf("%q with %v", ctx.Path(), ctx.Meta())
				}
				if _, ok := ctx.Deadline(); ok {
					t.Error("the sender's deadline is the handler's")
				}
				got = append(got, j.N)
				return nil
			})
		}
		c := t.service("caller", nil).Service("s")
		ctx := flyrpc.WithMeta(t.Context(), "k", "v")
		for i := range 50 {
			t.check(c.SendDurable(ctx, "/jobs/add", "", job{i}))
		}
		t.check(c.SendDurable(ctx, "/jobs/add", "same", job{50}))
		t.check(c.SendDurable(ctx, "/jobs/add", "same", job{51}))
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(got)
		if len(got) != 51 || got[50] != 50 {
			t.Errorf("handled: %v", got)
		}
		err := c.SendDurable(t.Context(), "nothing", "", job{})
		if !errors.Is(err, flyrpc.Unavailable) || !strings.Contains(err.Error(), "no durable consumer") {
			t.Errorf("to what nobody keeps: %v", err)
		}
		if err := c.SendDurable(t.Context(), "jobs.x", "", strings.NewReader("x")); !errors.Is(err, flyrpc.BadRequest) {
			t.Errorf("a reader: %v", err)
		}
		if err := c.SendDurable(t.Context(), "jobs.x", "", make([]byte, 2<<20)); !errors.Is(err, flyrpc.TooLong) {
			t.Errorf("more than a message of the bus: %v", err)
		}
	})
}

// A message that fails is handled again with a growing delay, and goes to the dead letters in the end, as it was sent.
func TestDurableRetries(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		start := time.Now()
		var mu sync.Mutex
		var tries []time.Duration
		t.to(s.QueueBind("jobs", service.Durable(&service.DurableOpts{Tries: 4, Backoff: time.Second, MaxBackoff: 3 * time.Second})), func(j *job) error {
			mu.Lock()
			tries = append(tries, time.Since(start))
			mu.Unlock()
			if j.N == 1 {
				panic("oh")
			}
			return errors.New("no")
		})
		dead := make(chan int, 10)
		t.to(s.QueueBind("jobs.dead", service.Durable(nil)), func(ctx *flyrpc.Context, j *job) { dead <- j.N })
		c := t.service("caller", nil).Service("s")
		t.check(c.SendDurable(t.Context(), "jobs", "id", job{1}))
		if n := <-dead; n != 1 {
			t.Errorf("the dead letter is %d", n)
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 6 * time.Second}
		mu.Lock()
		if !slices.Equal(tries, want) {
			t.Errorf("it was tried after %v, not %v", tries, want)
		}
		tries = nil
		mu.Unlock()
		t.check(c.SendDurable(t.Context(), "jobs", "", "no job")) // can't be decoded
		synctest.Wait()
		mu.Lock()
		if len(tries) != 0 {
			t.Errorf("%d tries of what can't be decoded", len(tries))
		}
		mu.Unlock()
		select {
		case n := <-dead:
			t.Errorf("a dead letter that can't be decoded is %d", n)
		case <-time.After(time.Hour):
		}
	})
}

// Messages of an instance that ends, in order or not, are handled by others, and none is lost.
func TestDurableInstancesEnd(t *testing.T) {
	bubble(t, func(t *net) {
		var mu sync.Mutex
		handled := map[int]int{}
		instance := func() *service.Service {
			s := t.service("s", nil)
			t.to(s.QueueBind("jobs", service.Durable(&service.DurableOpts{Concurrent: 4, AckWait: 10 * time.Second})), func(ctx *flyrpc.Context, j *job) error {
				select {
				case <-time.After(15 * time.Second): // longer than AckWait
				case <-ctx.Done():
					return ctx.Err()
				}
				mu.Lock()
				defer mu.Unlock()
				handled[j.N]++
				return nil
			})
			return s
		}
		one, two, three := instance(), instance(), instance()
		c := t.service("caller", nil).Service("s")
		const n = 60
		for i := range n {
			t.check(c.SendDurable(t.Context(), "jobs", "", job{i}))
		}
		time.Sleep(20 * time.Second)
		t.check(one.Shutdown(t.Context()))
		time.Sleep(10 * time.Second)
		two.Close()
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for i := range n {
			if handled[i] != 1 {
				t.Errorf("job %d was handled %d times", i, handled[i])
			}
		}
		_ = three
	})
}

func TestDurableConcurrent(t *testing.T) {
	bubble(t, func(t *net) {
		var running, most atomic.Int32
		t.to(t.service("s", nil).QueueBind("jobs", service.Durable(&service.DurableOpts{Concurrent: 3})), func(*job) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			running.Add(-1)
		})
		c := t.service("caller", nil).Service("s")
		for i := range 30 {
			t.check(c.SendDurable(t.Context(), "jobs", "", job{i}))
		}
		time.Sleep(10*time.Second + 500*time.Millisecond)
		synctest.Wait()
		if most.Load() != 3 || running.Load() != 0 {
			t.Errorf("%d ran at once, %d still do", most.Load(), running.Load())
		}
	})
}

func TestDurableNeedsItsBus(t *testing.T) {
	bubble(t, func(t *net) {
		s, _ := t.spoiled("s", nil)
		if err := s.QueueBind("jobs", service.Durable(nil)).To(func() {}); err == nil {
			t.Error("it was bound on a bus that keeps nothing")
		}
		if err := s.Self().SendDurable(t.Context(), "jobs", "", nil); !errors.Is(err, flyrpc.BadRequest) {
			t.Errorf("SendDurable: %v", err)
		}
	})
}
