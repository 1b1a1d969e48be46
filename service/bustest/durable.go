package bustest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

func durableChecks() []check {
	return []check{
		{"Acknowledged", checkAcknowledged},
		{"NoStore", checkNoStore},
		{"Duplicates", checkDuplicates},
		{"AckWait", checkAckWait},
		{"Working", checkWorking},
		{"Retry", checkRetry},
		{"Concurrent", checkConcurrent},
		{"Shared", checkShared},
		{"Keep", checkKeep},
		{"CloseGivesBack", checkCloseGivesBack},
		{"DrainWaits", checkDrainWaits},
	}
}

// deliveries collects what a consumer is given.
type deliveries struct {
	k   *kit
	mu  sync.Mutex
	got []*service.Delivery
}

// take is a handler.
func (d *deliveries) take(x *service.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = append(d.got, x)
}

// takeAndAck is a handler that settles.
func (d *deliveries) takeAndAck(x *service.Delivery) {
	if err := x.Settle.Ack(context.Background()); err != nil {
		d.k.Errorf("Ack: %v", err)
	}
	d.take(x)
}

// count returns how many have come.
func (d *deliveries) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.got)
}

// await waits for n deliveries, and returns the one that made them n.
func (d *deliveries) await(n int) *service.Delivery {
	d.k.Helper()
	d.k.until(fmt.Sprintf("delivery %d", n), func() bool { return d.count() >= n })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got[n-1]
}

// quiet checks that no more than n come.
func (d *deliveries) quiet(n int, wait time.Duration) {
	d.k.Helper()
	time.Sleep(wait)
	if got := d.count(); got != n {
		d.k.Errorf("%d deliveries, not %d", got, n)
	}
}

// name returns the name of a consumer that no other check has.
func (k *kit) name() string { return strings.ReplaceAll(k.prefix, ".", "-") }

// consume adds a consumer.
func (k *kit) consume(b service.Bus, subject string, concurrent int, handler func(*service.Delivery)) service.Subscription {
	k.Helper()
	s, err := b.(service.DurableBus).Consume(service.Consume{
		Subject: k.subject(subject), Name: k.name(), Concurrent: concurrent, AckWait: k.AckWait, Handler: handler,
		Keep: []string{k.subject("kept.>")},
	})
	if err != nil {
		k.Fatalf("Consume: %v", err)
	}
	return s
}

// store publishes a durable message.
func (k *kit) store(b service.Bus, subject, text, id string) (duplicate bool) {
	k.Helper()
	duplicate, err := b.(service.DurableBus).PublishDurable(k.ctx(), &service.Message{Subject: k.subject(subject), Data: []byte(text)}, id)
	if err != nil {
		k.Fatalf("PublishDurable: %v", err)
	}
	return duplicate
}

func checkAcknowledged(k *kit) {
	d := &deliveries{k: k}
	k.consume(k.b, "jobs.*", 10, d.takeAndAck)
	for i := range 100 {
		k.store(k.a, "jobs.x", strconv.Itoa(i), "")
	}
	d.await(100)
	seen := map[string]bool{}
	for _, x := range d.got {
		seen[string(x.Data)] = true
		if x.Subject != k.subject("jobs.x") || x.Reply != "" || x.Tries != 1 || x.ID != "" {
			k.Fatalf("a delivery is %+v", x)
		}
	}
	if len(seen) != 100 {
		k.Errorf("%d different messages came", len(seen))
	}
	d.quiet(100, k.AckWait+k.AckWait/2)
}

func checkNoStore(k *kit) {
	_, err := k.a.(service.DurableBus).PublishDurable(k.ctx(), &service.Message{Subject: k.subject("nothing")}, "")
	if !errors.Is(err, service.ErrNoStore) {
		k.Errorf("to a subject that nothing keeps: %v", err)
	}
	_, err = k.a.(service.DurableBus).PublishDurable(k.ctx(), &service.Message{Subject: "a..b"}, "")
	if !errors.Is(err, service.ErrBadSubject) {
		k.Errorf("to a bad subject: %v", err)
	}
}

func checkDuplicates(k *kit) {
	d := &deliveries{k: k}
	k.consume(k.b, "jobs", 10, d.takeAndAck)
	id := k.name()
	if k.store(k.a, "jobs", "first", id) {
		k.Error("the first is a duplicate")
	}
	if got := d.await(1); got.ID != id {
		k.Errorf("the id is %q", got.ID)
	}
	for range 3 {
		if !k.store(k.a, "jobs", "again", id) {
			k.Error("a duplicate was not noticed")
		}
	}
	k.store(k.a, "jobs", "without", "")
	k.store(k.a, "jobs", "without", "")
	d.await(3)
	d.quiet(3, k.Quiet)
}

func checkAckWait(k *kit) {
	d := &deliveries{k: k}
	k.consume(k.b, "jobs", 1, d.take)
	k.store(k.a, "jobs", "x", "")
	first := d.await(1)
	second := d.await(2)
	if second.Tries != 2 || string(second.Data) != "x" {
		k.Errorf("the second delivery is %+v", second)
	}
	if err := second.Settle.Ack(k.ctx()); err != nil {
		k.Error(err)
	}
	_ = first.Settle.Ack(k.ctx()) // late, which does no harm
	d.quiet(2, 2*k.AckWait)
}

func checkWorking(k *kit) {
	d := &deliveries{k: k}
	k.consume(k.b, "jobs", 1, d.take)
	for range 10 {
		k.store(k.a, "jobs", "x", "")
		n := d.count() + 1
		if works(k, d.await(n)) {
			d.quiet(n, 2*k.AckWait)
			return
		}
		d.settle(k.ctx())
	}
	k.Fatal("the machine is too busy to say in time that work goes on")
}

// settle acknowledges what has come, and what comes again, until nothing does.
func (d *deliveries) settle(ctx context.Context) {
	for range 10 {
		d.mu.Lock()
		got := d.got
		d.mu.Unlock()
		for _, x := range got {
			_ = x.Settle.Ack(ctx) // it may be too late
		}
		if time.Sleep(2 * d.k.AckWait); d.count() == len(got) {
			return
		}
	}
	d.k.Fatal("what was acknowledged is delivered again and again")
}

// works says that work goes on for twice AckWait, and then that it is done. It reports false if the machine was too busy to say so in time.
func works(k *kit, x *service.Delivery) bool {
	said, late := time.Now(), false
	say := func(tell func() error) {
		if late = late || time.Since(said) > k.AckWait/2; late {
			return
		}
		err := tell()
		if late = time.Since(said) > k.AckWait/2; err != nil && !late {
			k.Fatal(err)
		}
		said = time.Now()
	}
	for range 20 {
		time.Sleep(k.AckWait / 10)
		say(x.Settle.Working)
	}
	say(func() error { return x.Settle.Ack(k.ctx()) })
	return !late
}

func checkRetry(k *kit) {
	d := &deliveries{k: k}
	k.consume(k.b, "jobs", 1, d.take)
	k.store(k.a, "jobs", "x", "")
	start := time.Now()
	if err := d.await(1).Settle.Retry(k.AckWait / 2); err != nil {
		k.Fatal(err)
	}
	again := d.await(2)
	if took := time.Since(start); took < k.AckWait/2-k.AckWait/20 {
		k.Errorf("it came again after %v, not %v", took, k.AckWait/2)
	}
	if again.Tries != 2 {
		k.Errorf("the second delivery is number %d", again.Tries)
	}
	if err := again.Settle.Retry(0); err != nil {
		k.Fatal(err)
	}
	if err := d.await(3).Settle.Ack(k.ctx()); err != nil {
		k.Error(err)
	}
	d.quiet(3, 2*k.AckWait)
}

func checkConcurrent(k *kit) {
	d := &deliveries{k: k}
	k.consume(k.b, "jobs", 3, d.take)
	for i := range 10 {
		k.store(k.a, "jobs", strconv.Itoa(i), "")
	}
	d.await(3)
	d.quiet(3, min(k.Quiet, k.AckWait/2))
	for i := 1; i <= 10; i++ {
		if err := d.await(i).Settle.Ack(k.ctx()); err != nil {
			k.Error(err)
		}
	}
	d.quiet(10, 2*k.AckWait)
}

func checkShared(k *kit) {
	one, two := &deliveries{k: k}, &deliveries{k: k}
	k.consume(k.a, "jobs", 5, one.takeAndAck)
	k.consume(k.b, "jobs", 5, two.takeAndAck)
	const n = 100
	for i := range n {
		k.store(k.a, "jobs", strconv.Itoa(i), "")
	}
	k.until("deliveries", func() bool { return one.count()+two.count() >= n })
	time.Sleep(k.Quiet)
	if got := one.count() + two.count(); got != n {
		k.Errorf("%d deliveries of %d messages", got, n)
	}
}

func checkKeep(k *kit) {
	d, dead := &deliveries{k: k}, &deliveries{k: k}
	k.consume(k.b, "jobs", 1, d.takeAndAck)
	k.store(k.b, "kept.jobs", "dead", "")
	_, err := k.a.(service.DurableBus).Consume(service.Consume{
		Subject: k.subject("kept.jobs"), Name: k.name() + "-dead", Concurrent: 1, AckWait: k.AckWait, Handler: dead.takeAndAck,
	})
	if err != nil {
		k.Fatal(err)
	}
	if got := dead.await(1); string(got.Data) != "dead" {
		k.Errorf("what was kept is %q", got.Data)
	}
	d.quiet(0, k.Quiet)
}

func checkCloseGivesBack(k *kit) {
	one, two := &deliveries{k: k}, &deliveries{k: k}
	s := k.consume(k.a, "jobs", 2, one.take)
	for i := range 6 {
		k.store(k.b, "jobs", strconv.Itoa(i), "")
	}
	one.await(2)
	if err := s.Close(); err != nil {
		k.Fatal(err)
	}
	k.consume(k.b, "jobs", 2, two.takeAndAck)
	two.await(6)
	one.quiet(2, k.Quiet)
}

func checkDrainWaits(k *kit) {
	d := &deliveries{k: k}
	s := k.consume(k.a, "jobs", 2, d.take)
	for i := range 6 {
		k.store(k.b, "jobs", strconv.Itoa(i), "")
	}
	d.await(2)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(k.ctx()) }()
	time.Sleep(min(k.Quiet, k.AckWait/2))
	select {
	case err := <-drained:
		k.Fatalf("Drain returned before everything was settled: %v", err)
	default:
	}
	for i := 1; i <= 2; i++ {
		if err := d.await(i).Settle.Ack(k.ctx()); err != nil {
			k.Error(err)
		}
	}
	if err := <-drained; err != nil {
		k.Fatal(err)
	}
	d.quiet(2, k.Quiet)
}
