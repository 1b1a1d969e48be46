package natsbus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-flyrpc/flyrpc/service"
)

// consume consumes for one test.
func consume(t *testing.T, b *Bus, c service.Consume) service.Subscription {
	t.Helper()
	if c.Handler == nil {
		c.Handler = func(d *service.Delivery) { _ = d.Settle.Ack(context.Background()) }
	}
	if c.Concurrent == 0 {
		c.Concurrent = 1
	}
	if c.AckWait == 0 {
		c.AckWait = 5 * time.Second
	}
	s, err := b.Consume(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stored returns how many messages the store of a subject has.
func stored(t *testing.T, b *Bus, subject string) uint64 {
	t.Helper()
	stream, err := b.findStore(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		pattern, other string
		want           bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a.b", false},
		{"a.b", "a", false},
		{"*", "a", true},
		{"*", "*", true},
		{"a", "*", false},
		{">", "a.b", true},
		{">", ">", true},
		{">", "*.>", true},
		{"*.>", ">", false},
		{"a.*", "a.>", false},
		{"a.>", "a.*.c", true},
		{"a.>", "a", false},
		{"a.*.c", "a.b.c", true},
		{"a.b.c", "a.*.c", false},
		{"*.b", "a.*", false},
	} {
		if got := covers(tt.pattern, tt.other); got != tt.want {
			t.Errorf("covers(%q, %q) is %v", tt.pattern, tt.other, got)
		}
	}
}

func TestStreamNames(t *testing.T) {
	names := map[string]bool{}
	for _, subject := range []string{"a.b", "a_b", "a.*", "a.>", "a.any", "ä.b", strings.Repeat("x", 200), strings.Repeat("x", 201)} {
		name := streamName(subject)
		if names[name] || plainName(name) != name || len(name) > 100 || name != streamName(subject) {
			t.Errorf("%q has the stream %q", subject, name)
		}
		names[name] = true
	}
}

// What is handled is deleted, and what has no consumer is kept: with another one's first use, too.
func TestStoreKeepsWhatIsNotHandled(t *testing.T) {
	b := busOn(t, embedded(t, &EmbeddedOpts{JetStream: true}), &Opts{Store: StoreOpts{Memory: true}})
	publish := func(subject, id string) {
		if _, err := b.PublishDurable(t.Context(), &service.Message{Subject: subject, Data: []byte("x")}, id); err != nil {
			t.Fatal(err)
		}
	}
	first := consume(t, b, service.Consume{Subject: "jobs.>", Name: "first", Keep: []string{"dead"}})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	publish("jobs.a", "1")
	publish("jobs.b", "2")
	publish("dead", "3")
	if n, dead := stored(t, b, "jobs.>"), stored(t, b, "dead"); n != 2 || dead != 1 {
		t.Fatalf("%d and %d messages are kept", n, dead)
	}
	for _, c := range []service.Consume{{Subject: "jobs.>", Name: "first"}, {Subject: "jobs.a", Name: "second"}, {Subject: "dead", Name: "dead"}} {
		s := consume(t, b, c)
		defer s.Close()
	}
	eventually(t, "end of what is kept", func(context.Context) bool { return stored(t, b, "jobs.>")+stored(t, b, "dead") == 0 })
	stream, err := b.findStore(t.Context(), "dead")
	if err != nil || stream.CachedInfo().Config.MaxAge != DefaultKeepAge || stream.CachedInfo().Config.Storage != jetstream.MemoryStorage {
		t.Errorf("the store of dead letters is %+v, %v", stream, err)
	}
}

func TestConsumeRefuses(t *testing.T) {
	s := embedded(t, &EmbeddedOpts{JetStream: true})
	b := busOn(t, s, quiet())
	defer consume(t, b, service.Consume{Subject: "jobs.*", Name: "taken"}).Close()
	right := service.Consume{Subject: "x", Name: "x", Concurrent: 1, AckWait: time.Second}
	for _, tt := range []struct {
		name   string
		change func(c *service.Consume)
		want   string
	}{
		{"a wrong subject", func(c *service.Consume) { c.Subject = "a..b" }, "malformed"},
		{"a wrong subject to keep", func(c *service.Consume) { c.Keep = []string{""} }, "malformed"},
		{"no name", func(c *service.Consume) { c.Name = "" }, "name of a consumer"},
		{"a wrong name", func(c *service.Consume) { c.Name = "a.b" }, "name of a consumer"},
		{"none at once", func(c *service.Consume) { c.Concurrent = 0 }, "needs Concurrent"},
		{"no AckWait", func(c *service.Consume) { c.AckWait = 0 }, "needs Concurrent"},
		{"a subject that overlaps", func(c *service.Consume) { c.Subject = "*.a" }, "overlaps with jobs.*"},
		{"a name that is taken", func(c *service.Consume) { c.Subject, c.Name = "jobs.a", "taken" }, "different names"},
		{"more replicas than servers", func(c *service.Consume) { c.Subject = "more" }, "a store for"},
	} {
		c := right
		tt.change(&c)
		b.opts.Store.Replicas = 1
		if c.Subject == "more" {
			b.opts.Store.Replicas = 3
		}
		if sub, err := b.Consume(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want %q in it", tt.name, sub, err, tt.want)
		}
	}
	none := busOn(t, embedded(t, nil), quiet())
	begun := time.Now()
	if _, err := none.Consume(right); err == nil || !strings.Contains(err.Error(), "no JetStream") {
		t.Errorf("without JetStream: %v", err)
	}
	if _, err := none.PublishDurable(t.Context(), &service.Message{Subject: "a"}, "a"); err == nil || !strings.Contains(err.Error(), "no JetStream") {
		t.Errorf("without JetStream: %v", err)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("that there is no JetStream was said after %v", took)
	}
}

func TestPublishDurableRefuses(t *testing.T) {
	b := busOn(t, embedded(t, &EmbeddedOpts{JetStream: true}), &Opts{Store: StoreOpts{MaxBytes: 4 << 10}})
	defer consume(t, b, service.Consume{Subject: "jobs", Name: "jobs", Handler: func(*service.Delivery) {}}).Close()
	message := &service.Message{Subject: "jobs", Data: make([]byte, 1<<10)}
	for _, id := range []string{strings.Repeat("x", maxID+1), "a\nb"} {
		if _, err := b.PublishDurable(t.Context(), message, id); err == nil {
			t.Errorf("the id %.5q was taken", id)
		}
	}
	if _, err := b.PublishDurable(t.Context(), &service.Message{Subject: "jobs", Data: make([]byte, b.MaxPayload()+1)}, ""); !errors.Is(err, service.ErrTooLarge) {
		t.Errorf("a message that is too large: %v", err)
	}
	var err error
	for range 5 {
		if _, err = b.PublishDurable(t.Context(), message, strings.Repeat("x", maxID)+""); err != nil {
			t.Fatal(err) // duplicates take no room
		}
	}
	for i := range 5 {
		if _, err = b.PublishDurable(t.Context(), message, string(rune('a'+i))); err != nil {
			break
		}
	}
	if !errors.Is(err, service.ErrStoreFull) {
		t.Errorf("a store that is full: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.PublishDurable(ended, message, "z"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// A message is settled once; afterwards, or after its consumer was closed, that is said.
func TestSettleOnce(t *testing.T) {
	b := busOn(t, embedded(t, &EmbeddedOpts{JetStream: true}), quiet())
	got := make(chan *service.Delivery, 10)
	s := consume(t, b, service.Consume{Subject: "jobs", Name: "jobs", Concurrent: 2, Handler: func(d *service.Delivery) { got <- d }})
	for _, id := range []string{"a", "b"} {
		if _, err := b.PublishDurable(t.Context(), &service.Message{Subject: "jobs"}, id); err != nil {
			t.Fatal(err)
		}
	}
	first, second := <-got, <-got
	if err := first.Settle.Ack(t.Context()); err != nil || first.ID != "a" || first.Tries != 1 {
		t.Errorf("%+v: %v", first, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*service.Delivery{first, second} {
		for name, err := range map[string]error{
			"Ack": d.Settle.Ack(t.Context()), "Retry": d.Settle.Retry(0), "Working": d.Settle.Working(),
		} {
			if !errors.Is(err, errSettled) {
				t.Errorf("%s of %s: %v", name, d.ID, err)
			}
		}
	}
	defer consume(t, b, service.Consume{Subject: "jobs", Name: "jobs", Handler: func(d *service.Delivery) { got <- d }}).Close()
	if again := <-got; again.ID != "b" || again.Tries != 2 {
		t.Errorf("came again: %+v", again)
	}
}
