// Package bustest checks that a Bus does what package service says of it, and what services rely on.
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Config{Ends: func(t testing.TB) (a, b service.Bus) { ... }})
//	}
//
// Each check is a subtest with subjects of its own. None waits longer than Config.Patience for anything.
package bustest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

// The defaults of Config.
const (
	DefaultPatience = 20 * time.Second
	DefaultQuiet    = 100 * time.Millisecond
)

// Config says what is to be checked.
type Config struct {
	// Ends returns two ends of one bus, as two programs would have them. The checks close them. If they implement
	// service.DurableBus, that is checked too.
	Ends func(t testing.TB) (a, b service.Bus)
	// Patience is how long anything may take that has to happen. Default 20 s.
	Patience time.Duration
	// Quiet is how long is waited to see that something doesn't happen. Default 100 ms.
	Quiet time.Duration
	// AckWait is what the checks of durable messages give consumers. Default 1 s.
	AckWait time.Duration
	// Bubble has each check run in a bubble of testing/synctest, where time takes no time and a busy machine changes nothing. All goroutines of
	// the bus have to be made by Ends or later, and to end with both ends.
	Bubble bool
}

// check is one thing that is checked.
type check struct {
	name string
	run  func(k *kit)
}

// Run checks the bus.
func Run(t *testing.T, c Config) {
	t.Helper()
	in := func(t *testing.T, f func(t *testing.T)) { f(t) }
	if c.Bubble {
		in = synctest.Test
	}
	for _, ch := range checks() {
		t.Run(ch.name, func(t *testing.T) {
			in(t, func(t *testing.T) { ch.run(newKit(t, c)) })
		})
	}
	for _, ch := range durableChecks() {
		t.Run("Durable"+ch.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				k := newKit(t, c)
				if _, ok := k.a.(service.DurableBus); !ok {
					t.Skip("the bus keeps nothing: it is no service.DurableBus")
				}
				ch.run(k)
			})
		})
	}
}

func checks() []check {
	return []check{
		{"Order", checkOrder},
		{"Owned", checkOwned},
		{"Wildcards", checkWildcards},
		{"Everybody", checkEverybody},
		{"Queue", checkQueue},
		{"QueueOfPatterns", checkQueueOfPatterns},
		{"NoResponders", checkNoResponders},
		{"Responders", checkResponders},
		{"MaxPayload", checkMaxPayload},
		{"BadSubjects", checkBadSubjects},
		{"SlowHandler", checkSlowHandler},
		{"Dropped", checkDropped},
		{"CloseSubscription", checkCloseSubscription},
		{"Drain", checkDrain},
		{"DrainInTime", checkDrainInTime},
		{"CloseBus", checkCloseBus},
	}
}

// kit is what a check works with.
type kit struct {
	testing.TB
	Config
	a, b   service.Bus
	prefix string
}

func newKit(t testing.TB, c Config) *kit {
	if c.Patience <= 0 {
		c.Patience = DefaultPatience
	}
	if c.Quiet <= 0 {
		c.Quiet = DefaultQuiet
	}
	if c.AckWait <= 0 {
		c.AckWait = time.Second
	}
	k := &kit{TB: t, Config: c, prefix: fmt.Sprintf("kit%d.%s", time.Now().UnixNano(), strings.ReplaceAll(t.Name(), "/", "-"))}
	k.a, k.b = c.Ends(t)
	t.Cleanup(func() {
		k.a.Close()
		k.b.Close()
	})
	return k
}

// subject returns a subject that no other check has.
func (k *kit) subject(rest string) string { return k.prefix + "." + rest }

// sink collects what a subscription is given.
type sink struct {
	k   *kit
	mu  sync.Mutex
	got []*service.Message
	c   chan struct{} // capacity 1: something has come
}

func (k *kit) sink() *sink { return &sink{k: k, c: make(chan struct{}, 1)} }

// take is a handler.
func (s *sink) take(m *service.Message) {
	s.mu.Lock()
	s.got = append(s.got, m)
	s.mu.Unlock()
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// texts returns what has come, as text.
func (s *sink) texts() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		texts = append(texts, string(m.Data))
	}
	return texts
}

// count returns how many have come.
func (s *sink) count() int { return len(s.texts()) }

// first returns the message that came first.
func (s *sink) first() *service.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[0]
}

// await waits until n messages have come, and returns their texts.
func (s *sink) await(n int) []string {
	s.k.Helper()
	s.k.until(fmt.Sprintf("%d messages", n), func() bool { return s.count() >= n })
	return s.texts()
}

// until waits until something holds.
func (k *kit) until(what string, holds func() bool) {
	k.Helper()
	for end := time.Now().Add(k.Patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			k.Fatalf("no %s within %v", what, k.Patience)
		}
	}
}

// subscribe subscribes and sees to it that both ends know.
func (k *kit) subscribe(b service.Bus, subject, queue string, handler func(*service.Message)) service.Subscription {
	k.Helper()
	s, err := b.Subscribe(service.Subscribe{Subject: subject, Queue: queue, Handler: handler})
	if err != nil {
		k.Fatalf("Subscribe %q: %v", subject, err)
	}
	k.flush(b)
	return s
}

// flush flushes b.
func (k *kit) flush(b service.Bus) {
	k.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), k.Patience)
	defer cancel()
	if err := b.Flush(ctx); err != nil {
		k.Fatalf("Flush: %v", err)
	}
}

// publish publishes a text.
func (k *kit) publish(b service.Bus, subject, text string) {
	k.Helper()
	if err := b.Publish(&service.Message{Subject: subject, Data: []byte(text)}); err != nil {
		k.Fatalf("Publish %q: %v", subject, err)
	}
}

// ctx returns a context with the kit's patience.
func (k *kit) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), k.Patience)
	k.Cleanup(cancel)
	return ctx
}
