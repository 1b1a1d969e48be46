package bustest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// recorder is a test whose failures are written down.
type recorder struct {
	testing.TB // for what is not about failing
	mu         sync.Mutex
	failures   []string
	cleanups   []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// record runs a check and returns what it found.
func record(t *testing.T, ch check, c Config) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ch.run(newKit(r, c))
	}()
	<-done
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return strings.Join(r.failures, "\n")
}

// broken is a bus that does something wrong.
type broken struct {
	service.DurableBus
	publish   func(b service.Bus, m *service.Message) error
	subscribe func(b service.Bus, s service.Subscribe) (service.Subscription, error)
	store     func(b service.DurableBus, m *service.Message, id string) (bool, error)
	consume   func(b service.DurableBus, c service.Consume) (service.Subscription, error)
	leaveOpen bool
}

func (b *broken) Publish(m *service.Message) error {
	if b.publish != nil {
		return b.publish(b.DurableBus, m)
	}
	return b.DurableBus.Publish(m)
}

func (b *broken) Subscribe(s service.Subscribe) (service.Subscription, error) {
	if b.subscribe != nil {
		return b.subscribe(b.DurableBus, s)
	}
	return b.DurableBus.Subscribe(s)
}

func (b *broken) PublishDurable(ctx context.Context, m *service.Message, id string) (bool, error) {
	if b.store != nil {
		return b.store(b.DurableBus, m, id)
	}
	return b.DurableBus.PublishDurable(ctx, m, id)
}

func (b *broken) Consume(c service.Consume) (service.Subscription, error) {
	if b.consume != nil {
		return b.consume(b.DurableBus, c)
	}
	return b.DurableBus.Consume(c)
}

// handling returns a subscribe that changes the subscription.
func handling(change func(s *service.Subscribe)) func(*broken) {
	return func(b *broken) {
		b.subscribe = func(b service.Bus, s service.Subscribe) (service.Subscription, error) {
			change(&s)
			return b.Subscribe(s)
		}
	}
}

// publishing returns a publish that changes the message.
func publishing(change func(m *service.Message)) func(*broken) {
	return func(b *broken) {
		b.publish = func(b service.Bus, m *service.Message) error {
			c := *m
			change(&c)
			return b.Publish(&c)
		}
	}
}

// ending is a subscription that ends in its own way.
type ending struct {
	service.Subscription
	close, drain func() error
}

func (e *ending) Close() error                { return e.close() }
func (e *ending) Drain(context.Context) error { return e.drain() }

// delivering returns a consume that changes what is delivered.
func delivering(change func(d *service.Delivery) bool) func(*broken) {
	return func(b *broken) {
		b.consume = func(b service.DurableBus, c service.Consume) (service.Subscription, error) {
			handler := c.Handler
			c.Handler = func(d *service.Delivery) {
				if change(d) {
					handler(d)
				}
			}
			return b.Consume(c)
		}
	}
}

// deaf is a Settler that does nothing of what it is told.
type deaf struct{}

func (deaf) Ack(context.Context) error { return nil }
func (deaf) Retry(time.Duration) error { return nil }
func (deaf) Working() error            { return nil }

// faults returns, for each check, what a bus may do wrong that the check has to find.
func faults() map[string]func(*broken) {
	endingBy := func(end func(s service.Subscription) *ending) func(*broken) {
		return func(b *broken) {
			b.subscribe = func(b service.Bus, o service.Subscribe) (service.Subscription, error) {
				s, err := b.Subscribe(o)
				if err != nil {
					return nil, err
				}
				return end(s), nil
			}
		}
	}
	failing := func() error { return errors.New("no") }
	unbounded := handling(func(s *service.Subscribe) { s.Pending = 0 })
	deafen := delivering(func(d *service.Delivery) bool { d.Settle = deaf{}; return true })
	return map[string]func(*broken){
		"Order": publishing(func(m *service.Message) { m.Data = []byte("0") }),
		"Owned": handling(func(s *service.Subscribe) {
			h := s.Handler
			s.Handler = func(m *service.Message) { clear(m.Data); h(m) }
		}),
		"Wildcards":       handling(func(s *service.Subscribe) { s.Subject = strings.ReplaceAll(s.Subject, "*", "a") }),
		"Everybody":       handling(func(s *service.Subscribe) { s.Queue = "q" }),
		"Queue":           handling(func(s *service.Subscribe) { s.Queue = "" }),
		"QueueOfPatterns": handling(func(s *service.Subscribe) { s.Queue += strings.ReplaceAll(s.Subject, "*", "_") }),
		"NoResponders":    publishing(func(m *service.Message) { m.Reply = "" }),
		"Responders": endingBy(func(s service.Subscription) *ending {
			return &ending{close: func() error { return nil }, drain: failing}
		}),
		"MaxPayload": func(b *broken) {
			b.publish = func(b service.Bus, m *service.Message) error {
				c := *m
				c.Data = c.Data[:min(len(c.Data), b.MaxPayload()-1)]
				return b.Publish(&c)
			}
		},
		"BadSubjects": func(b *broken) { b.publish = func(service.Bus, *service.Message) error { return nil } },
		"SlowHandler": func(b *broken) {
			var mu sync.Mutex
			handling(func(s *service.Subscribe) {
				h := s.Handler
				s.Handler = func(m *service.Message) { mu.Lock(); defer mu.Unlock(); h(m) }
			})(b)
		},
		"Dropped": unbounded,
		"CloseSubscription": endingBy(func(s service.Subscription) *ending {
			return &ending{close: func() error { return nil }, drain: failing}
		}),
		"Drain": endingBy(func(s service.Subscription) *ending { return &ending{close: s.Close, drain: s.Close} }),
		"DrainInTime": endingBy(func(s service.Subscription) *ending {
			return &ending{close: s.Close, drain: func() error { return nil }}
		}),
		"CloseBus":            func(b *broken) { b.leaveOpen = true },
		"DurableAcknowledged": deafen,
		"DurableNoStore": func(b *broken) {
			b.store = func(service.DurableBus, *service.Message, string) (bool, error) { return false, nil }
		},
		"DurableDuplicates": func(b *broken) {
			b.store = func(b service.DurableBus, m *service.Message, _ string) (bool, error) {
				return b.PublishDurable(context.Background(), m, "")
			}
		},
		"DurableAckWait": delivering(func(d *service.Delivery) bool { return d.Settle.Ack(context.Background()) == nil }),
		"DurableWorking": deafen,
		"DurableRetry":   delivering(func(d *service.Delivery) bool { d.Tries = 1; return true }),
		"DurableConcurrent": func(b *broken) {
			b.consume = func(b service.DurableBus, c service.Consume) (service.Subscription, error) {
				c.Concurrent *= 2
				return b.Consume(c)
			}
		},
		"DurableShared": func(b *broken) {
			b.consume = func(b service.DurableBus, c service.Consume) (service.Subscription, error) {
				c.Name += fmt.Sprintf("%p", b)
				return b.Consume(c)
			}
		},
		"DurableKeep": func(b *broken) {
			b.consume = func(b service.DurableBus, c service.Consume) (service.Subscription, error) {
				c.Keep = nil
				return b.Consume(c)
			}
		},
		"DurableCloseGivesBack": func(b *broken) {
			b.consume = func(b service.DurableBus, c service.Consume) (service.Subscription, error) {
				_, err := b.Consume(c)
				return &ending{close: func() error { return nil }, drain: failing}, err
			}
		},
		"DurableDrainWaits": func(b *broken) {
			b.consume = func(b service.DurableBus, c service.Consume) (service.Subscription, error) {
				s, err := b.Consume(c)
				return &ending{close: s.Close, drain: s.Close}, err
			}
		},
	}
}

// Close closes the bus, unless that is what is broken.
func (b *broken) Close() error {
	if b.leaveOpen {
		return nil
	}
	return b.DurableBus.Close()
}

// Each check finds what is wrong with a bus that is broken where it looks.
func TestBroken(t *testing.T) {
	all := checks()
	for _, ch := range durableChecks() {
		all = append(all, check{"Durable" + ch.name, ch.run})
	}
	for _, ch := range all {
		t.Run(ch.name, func(t *testing.T) {
			fault := faults()[ch.name]
			if fault == nil {
				t.Fatal("there is no bus that is broken so")
			}
			one := membus.New(nil)
			two := one.Join()
			defer one.Close()
			defer two.Close()
			a, b := &broken{DurableBus: one}, &broken{DurableBus: two}
			fault(a)
			fault(b)
			found := record(t, ch, Config{
				Patience: 400 * time.Millisecond, Quiet: 60 * time.Millisecond, AckWait: 100 * time.Millisecond,
				Ends: func(testing.TB) (service.Bus, service.Bus) { return a, b },
			})
			if found == "" {
				t.Error("it finds nothing")
			}
			t.Log(found)
		})
	}
}
