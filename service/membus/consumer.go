package membus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

// consumer is who handles durable messages, under one name. The store's lock guards all of it.
type consumer struct {
	store   *store
	subject string
	wait    time.Duration
	ready   []*task
	members []*member
	turn    int
}

// task is a message that a consumer has to handle.
type task struct {
	kept  *kept
	tries int
	by    *delivery // that is not settled, or nil
}

// member is one of Bus.Consume.
type member struct {
	bus      *Bus
	consumer *consumer
	most     int
	open     int // delivered and not settled
	line     line[*service.Delivery]
	left     bool
	idle     []chan struct{} // closed when nothing is open
}

// delivery settles a delivered message.
type delivery struct {
	member *member
	task   *task
	timer  *time.Timer
}

// Consume implements service.DurableBus.
func (b *Bus) Consume(c service.Consume) (service.Subscription, error) {
	for _, subject := range append([]string{c.Subject}, c.Keep...) {
		if err := service.CheckSubject(subject, true); err != nil {
			return nil, err
		}
	}
	if c.Name == "" || c.Concurrent < 1 || c.AckWait <= 0 {
		return nil, fmt.Errorf("membus: a consumer needs a name, Concurrent and AckWait, not %q, %d and %v", c.Name, c.Concurrent, c.AckWait)
	}
	s := &b.broker.store
	m := &member{bus: b, most: c.Concurrent}
	m.line = line[*service.Delivery]{most: c.Concurrent, mostBytes: s.opts.MaxKeptBytes, take: c.Handler}
	if err := b.keep(m); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if m.consumer, err = s.consumer(&c); err != nil {
		b.forget(m)
		return nil, err
	}
	for _, subject := range append([]string{c.Subject}, c.Keep...) {
		s.keeps[subject] = struct{}{}
	}
	m.consumer.members = append(m.consumer.members, m)
	m.consumer.dispatch()
	return m, nil
}

// add adds a message that has come.
func (c *consumer) add(k *kept) {
	k.unready[c] = struct{}{}
	c.ready = append(c.ready, &task{kept: k})
	c.dispatch()
}

// dispatch delivers what is ready to members that take more.
func (c *consumer) dispatch() {
	for len(c.ready) > 0 {
		m := c.free()
		if m == nil {
			return
		}
		t := c.ready[0]
		c.ready[0] = nil
		c.ready = c.ready[1:]
		m.deliver(t)
	}
}

// free returns the next member that takes more, or nil.
func (c *consumer) free() *member {
	for range c.members {
		c.turn = (c.turn + 1) % len(c.members)
		if m := c.members[c.turn]; m.open < m.most {
			return m
		}
	}
	return nil
}

// again has a task delivered once more.
func (c *consumer) again(t *task) {
	c.ready = append(c.ready, t)
	c.dispatch()
}

// deliver gives a task to m.
func (m *member) deliver(t *task) {
	m.open++
	t.tries++
	d := &delivery{member: m, task: t}
	t.by = d
	d.timer = time.AfterFunc(m.consumer.wait, d.expire)
	m.line.push(&service.Delivery{Message: *copyOf(&t.kept.msg), ID: t.kept.id, Tries: t.tries, Settle: d}, t.kept.size)
}

// errSettled is what a Settler returns that is too late.
var errSettled = errors.New("membus: the delivery was settled before, or its time to be was over")

// close ends a delivery and returns its task. It is called with the store's lock held.
func (d *delivery) close() (*task, error) {
	t := d.task
	if t.by != d {
		return nil, errSettled
	}
	t.by = nil
	d.timer.Stop()
	m := d.member
	if m.open--; m.open == 0 {
		for _, c := range m.idle {
			close(c)
		}
		m.idle = nil
	}
	return t, nil
}

// expire has a delivery repeated that was not settled in time.
func (d *delivery) expire() {
	c := d.member.consumer
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if t, err := d.close(); err == nil {
		c.again(t)
	}
}

// Ack implements service.Settler.
func (d *delivery) Ack(context.Context) error {
	c := d.member.consumer
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	t, err := d.close()
	if err != nil {
		return err
	}
	c.store.settled(t.kept, c)
	c.dispatch()
	return nil
}

// Retry implements service.Settler.
func (d *delivery) Retry(delay time.Duration) error {
	c := d.member.consumer
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	t, err := d.close()
	if err != nil {
		return err
	}
	time.AfterFunc(delay, func() {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		c.again(t)
	})
	c.dispatch()
	return nil
}

// Working implements service.Settler.
func (d *delivery) Working() error {
	s := d.member.consumer.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.task.by != d {
		return errSettled
	}
	d.timer.Reset(d.member.consumer.wait)
	return nil
}

// leave takes m off its consumer. It is called with the store's lock held.
func (m *member) leave() {
	m.left = true
	c := m.consumer
	c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == m })
}

// Close implements service.Subscription. What the handler has not been given is delivered to others at once.
func (m *member) Close() error {
	m.bus.forget(m)
	c := m.consumer
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	m.leave()
	for _, d := range m.line.close() {
		if t, err := d.Settle.(*delivery).close(); err == nil {
			t.tries--
			c.again(t)
		}
	}
	return nil
}

// Drain implements service.Subscription.
func (m *member) Drain(ctx context.Context) error {
	s := m.consumer.store
	s.mu.Lock()
	m.leave()
	done := make(chan struct{})
	if m.open == 0 {
		close(done)
	} else {
		m.idle = append(m.idle, done)
	}
	s.mu.Unlock()
	select {
	case <-done:
		return m.Close()
	case <-ctx.Done():
		m.Close()
		return ctx.Err()
	}
}
