package natsbus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
	"github.com/go-flyrpc/flyrpc/service"
)

// seen counts messages by what they say.
type seen struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *seen) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[string]int{}
	}
	s.n[text]++
}

func (s *seen) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[text]
}

// size returns how many different ones there were.
func (s *seen) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.n)
}

// A broker that is cut off from the others keeps its clients but not what it takes from them; when it is back, all are one
// cluster again.
func TestClusterHeals(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	left, right := c.bus(t, 0), c.bus(t, 1)
	var got, jobs seen
	if _, err := right.Subscribe(service.Subscribe{Subject: "news", Handler: func(m *service.Message) { got.add(string(m.Data)) }}); err != nil {
		t.Fatal(err)
	}
	publish := func(text string) {
		if err := left.Publish(&service.Message{Subject: "news", Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "message from one broker to the other", func(context.Context) bool {
		publish("first")
		return got.count("first") > 0
	})
	begun := time.Now()
	consumer, err := right.Consume(service.Consume{
		Subject: "jobs", Name: "worker", Concurrent: 4, AckWait: 5 * time.Second,
		Handler: func(d *service.Delivery) {
			jobs.add(string(d.Data))
			if err := d.Settle.Ack(context.Background()); err != nil {
				t.Log(err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	t.Logf("a store of %d replicas after %v", brokers, time.Since(begun))
	if err := c.isolate(0, netfault.Faults{BlackHole: true}); err != nil {
		t.Fatal(err)
	}
	publish("cut off")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	job := &service.Message{Subject: "jobs", Data: []byte("a")}
	_, err = left.PublishDurable(ctx, job, "a")
	t.Logf("a durable message while its broker is cut off: %v", err)
	for i := range 10 { // the majority goes on
		text := fmt.Sprint("job", i)
		if _, err := right.PublishDurable(t.Context(), &service.Message{Subject: "jobs", Data: []byte(text)}, text); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "delivery by the majority", func(context.Context) bool { return jobs.count("job9") > 0 })
	if got.count("cut off") > 0 {
		t.Error("a broker that is cut off has sent a message on")
	}
	if err := c.isolate(0, netfault.Faults{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "message after the cluster has healed", func(context.Context) bool {
		publish("healed")
		return got.count("healed") > 0
	})
	if _, err := left.PublishDurable(t.Context(), job, "a"); err != nil {
		t.Error(err)
	}
	eventually(t, "delivery after the cluster has healed", func(context.Context) bool { return jobs.count("a") > 0 })
}
