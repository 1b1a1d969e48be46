package natsbus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// A consumer that drains ends however far it has come with asking for messages.
func TestConsumerDrains(t *testing.T) {
	t.Parallel()
	b := busOn(t, embedded(t, &EmbeddedOpts{JetStream: true}), quiet())
	for i := range 30 {
		s := consume(t, b, service.Consume{Subject: "jobs", Name: "jobs", Concurrent: 1})
		if _, err := b.PublishDurable(t.Context(), &service.Message{Subject: "jobs"}, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 1 + i%2 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := s.Drain(ctx); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	}
}

// Instances that are shut down one after the other, and started again, under load: no request fails, no message for one is lost or
// handled twice, and no durable one is handled less than once.
func TestRollingInstances(t *testing.T) {
	t.Parallel()
	s := embedded(t, &EmbeddedOpts{JetStream: true})
	var tasks, jobs seen
	start := func() *service.Service {
		svc := service.New("worker", busOn(t, s, quiet()), nil)
		for _, err := range []error{
			svc.QueueBind("task").To(func(id string) { tasks.add(id) }),
			svc.QueueBind("ask").To(func(id string) string { return id }),
			svc.QueueBind("job", service.Durable(nil)).To(func(id string) { jobs.add(id) }),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return svc
	}
	running := []*service.Service{start(), start(), start()}
	caller := service.New("caller", busOn(t, s, quiet()), nil)
	defer caller.Close()
	to := caller.Service("worker")

	stop := make(chan struct{})
	var sent atomic.Int64
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint(i, "-", n)
				var echo string
				if err := to.Request(t.Context(), "ask", id).Into(&echo); err != nil || echo != id {
					t.Errorf("request %s: %q, %v, %v", id, echo, err, flyrpc.Outcome(err))
				}
				if err := to.Send(t.Context(), "task", id); err != nil {
					t.Errorf("message %s: %v", id, err)
				}
				if err := to.SendDurable(t.Context(), "job", id, id); err != nil {
					t.Errorf("durable message %s: %v", id, err)
				}
				sent.Add(1)
			}
		})
	}
	for i := range running {
		running = append(running, start())
		if err := running[i].Shutdown(t.Context()); err != nil {
			t.Errorf("instance %d: %v", i, err)
		}
	}
	close(stop)
	wg.Wait()
	eventually(t, "end of what was sent", func(context.Context) bool {
		return int64(tasks.size()) == sent.Load() && int64(jobs.size()) == sent.Load()
	})
	for id, n := range tasks.n {
		if n != 1 {
			t.Errorf("message %s was handled %d times", id, n)
		}
	}
	for _, svc := range running {
		if err := svc.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d requests, messages and durable messages", sent.Load())
}
