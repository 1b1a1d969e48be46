package membus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/bustest"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	bustest.Run(t, bustest.Config{
		Bubble: true,
		Ends: func(testing.TB) (a, b service.Bus) {
			one := membus.New(nil)
			return one, one.Join()
		},
	})
}

// The store's limits are at the message and at the byte.
func TestStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membus.New(&membus.Options{MaxKept: 3, MaxKeptBytes: 10, Duplicates: time.Minute})
		defer b.Close()
		var last *service.Delivery
		consumer, err := b.Consume(service.Consume{
			Subject: "jobs", Name: "w", Concurrent: 1, AckWait: time.Hour,
			Handler: func(d *service.Delivery) { last = d },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		publish := func(data, id string) error {
			_, err := b.PublishDurable(t.Context(), &service.Message{Subject: "jobs", Data: []byte(data)}, id)
			return err
		}
		for _, data := range []string{"123456", "1234"} {
			if err := publish(data, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := publish("1", ""); !errors.Is(err, service.ErrStoreFull) {
			t.Errorf("a byte too many: %v", err)
		}
		if err := publish("", "a"); err != nil {
			t.Fatal(err)
		}
		if err := publish("", "b"); !errors.Is(err, service.ErrStoreFull) {
			t.Errorf("a message too many: %v", err)
		}
		synctest.Wait()
		if err := last.Settle.Ack(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := publish("12345", "b"); err != nil {
			t.Errorf("after one was settled: %v", err)
		}
		if dup, err := b.PublishDurable(t.Context(), &service.Message{Subject: "jobs"}, "a"); !dup || err != nil {
			t.Errorf("a duplicate: %v, %v", dup, err)
		}
		time.Sleep(time.Minute)
		if dup, err := b.PublishDurable(t.Context(), &service.Message{Subject: "jobs"}, "a"); dup || !errors.Is(err, service.ErrStoreFull) {
			t.Errorf("the same when the time for duplicates is over: %v, %v", dup, err)
		}
	})
}

func TestBadConsumers(t *testing.T) {
	b := membus.New(nil)
	defer b.Close()
	good := service.Consume{Subject: "jobs", Name: "w", Concurrent: 1, AckWait: time.Second, Handler: func(*service.Delivery) {}}
	if _, err := b.Consume(good); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*service.Consume){
		"no name":              func(c *service.Consume) { c.Name = "" },
		"no concurrency":       func(c *service.Consume) { c.Concurrent = 0 },
		"no time":              func(c *service.Consume) { c.AckWait = 0 },
		"a bad subject":        func(c *service.Consume) { c.Subject = "a..b" },
		"a bad kept subject":   func(c *service.Consume) { c.Keep = []string{"a b"} },
		"the name's other use": func(c *service.Consume) { c.Subject = "other" },
	} {
		c := good
		change(&c)
		if s, err := b.Consume(c); err == nil {
			t.Errorf("%s: %v", what, s)
		}
	}
	b.Close()
	if _, err := b.Consume(good); !errors.Is(err, service.ErrBusClosed) {
		t.Errorf("after Close: %v", err)
	}
}
