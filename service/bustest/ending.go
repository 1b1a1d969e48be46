package bustest

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

// gate returns a handler that waits until open is called.
func (k *kit) gate(s *sink) (handler func(*service.Message), open func()) {
	gate := make(chan struct{})
	var opened atomic.Bool
	open = func() {
		if !opened.Swap(true) {
			close(gate)
		}
	}
	k.Cleanup(open)
	return func(m *service.Message) {
		s.take(m)
		<-gate
	}, open
}

func checkSlowHandler(k *kit) {
	slow, quick := k.sink(), k.sink()
	handler, open := k.gate(slow)
	k.subscribe(k.b, k.subject("slow"), "", handler)
	k.subscribe(k.b, k.subject("quick"), "", quick.take)
	k.publish(k.a, k.subject("slow"), "first")
	slow.await(1)
	for i := range 100 {
		k.publish(k.a, k.subject("slow"), strconv.Itoa(i))
		k.publish(k.a, k.subject("quick"), strconv.Itoa(i))
	}
	quick.await(100)
	if n := slow.count(); n != 1 {
		k.Errorf("a handler was called %d times before it returned", n)
	}
	open()
	slow.await(101)
}

func checkDropped(k *kit) {
	s := k.sink()
	handler, open := k.gate(s)
	var dropped atomic.Uint64
	_, err := k.b.Subscribe(service.Subscribe{
		Subject: k.subject("a"), Pending: 10, Handler: handler,
		Dropped: func(n uint64) { dropped.Add(n) },
	})
	if err != nil {
		k.Fatal(err)
	}
	k.flush(k.b)
	k.publish(k.a, k.subject("a"), "first")
	s.await(1)
	const n = 200
	for i := range n {
		k.publish(k.a, k.subject("a"), strconv.Itoa(i))
	}
	k.flush(k.a)
	k.flush(k.b) // so that all have come
	k.until("notice of what was dropped", func() bool { return dropped.Load() > 0 })
	open()
	k.until("account of every message", func() bool { return dropped.Load()+uint64(s.count()) >= n+1 })
	if got := s.count(); got > 1+10+1 {
		k.Errorf("%d messages came, though 10 may wait", got)
	}
	before := s.count()
	k.publish(k.a, k.subject("a"), "again")
	s.await(before + 1)
}

func checkCloseSubscription(k *kit) {
	s := k.sink()
	handler, open := k.gate(s)
	sub := k.subscribe(k.b, k.subject("a"), "", handler)
	for i := range 10 {
		k.publish(k.a, k.subject("a"), strconv.Itoa(i))
	}
	s.await(1)
	for range 2 {
		if err := sub.Close(); err != nil {
			k.Fatal(err)
		}
	}
	open()
	k.flush(k.b)
	k.publish(k.a, k.subject("a"), "late")
	time.Sleep(k.Quiet)
	if n := s.count(); n != 1 {
		k.Errorf("%d messages were handled, one of them before Close", n)
	}
}

func checkDrain(k *kit) {
	s, other := k.sink(), k.sink()
	handler, open := k.gate(s)
	sub := k.subscribe(k.b, k.subject("a"), "q", handler)
	const n = 50
	for i := range n {
		k.publish(k.a, k.subject("a"), strconv.Itoa(i))
	}
	s.await(1)
	k.flush(k.a)
	time.Sleep(k.Quiet) // so that all were delivered
	drained := make(chan error, 1)
	go func() { drained <- sub.Drain(k.ctx()) }()
	time.Sleep(k.Quiet)
	select {
	case err := <-drained:
		k.Fatalf("Drain returned before the handler did: %v", err)
	default:
	}
	k.subscribe(k.b, k.subject("a"), "q", other.take)
	for range n {
		k.publish(k.a, k.subject("a"), "late")
	}
	other.await(n)
	open()
	if err := <-drained; err != nil {
		k.Fatal(err)
	}
	if got := s.count(); got != n {
		k.Errorf("Drain returned when %d of %d messages were handled", got, n)
	}
}

func checkDrainInTime(k *kit) {
	s := k.sink()
	handler, open := k.gate(s)
	sub := k.subscribe(k.b, k.subject("a"), "", handler)
	k.publish(k.a, k.subject("a"), "1")
	k.publish(k.a, k.subject("a"), "2")
	s.await(1)
	ctx, cancel := context.WithTimeout(context.Background(), k.Quiet)
	defer cancel()
	if err := sub.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		k.Errorf("Drain with a handler that doesn't return: %v", err)
	}
	open()
	time.Sleep(k.Quiet)
	if n := s.count(); n != 1 {
		k.Errorf("%d messages were handled: the subscription was not closed", n)
	}
}

func checkCloseBus(k *kit) {
	s := k.sink()
	sub := k.subscribe(k.a, k.subject("a"), "", s.take)
	for range 2 {
		if err := k.a.Close(); err != nil {
			k.Fatal(err)
		}
	}
	if err := k.a.Publish(&service.Message{Subject: k.subject("a")}); !errors.Is(err, service.ErrBusClosed) {
		k.Errorf("Publish: %v", err)
	}
	if _, err := k.a.Subscribe(service.Subscribe{Subject: k.subject("a"), Handler: s.take}); !errors.Is(err, service.ErrBusClosed) {
		k.Errorf("Subscribe: %v", err)
	}
	if err := k.a.Flush(k.ctx()); !errors.Is(err, service.ErrBusClosed) {
		k.Errorf("Flush: %v", err)
	}
	if err := sub.Close(); err != nil {
		k.Errorf("Subscription.Close: %v", err)
	}
	k.publish(k.b, k.subject("a"), "late")
	k.flush(k.b)
	time.Sleep(k.Quiet)
	if n := s.count(); n != 0 {
		k.Errorf("%d messages came after Close", n)
	}
}
