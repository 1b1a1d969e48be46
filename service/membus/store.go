package membus

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

// store keeps durable messages until every consumer has settled them.
type store struct {
	opts *Options

	mu        sync.Mutex
	kept      list.List // of *kept, in their order
	bytes     int
	consumers map[string]*consumer
	keeps     map[string]struct{} // subjects
	ids       map[string]struct{}
	seen      []seenID // the same, oldest first
}

// kept is one durable message.
type kept struct {
	msg     service.Message
	id      string
	size    int
	unready map[*consumer]struct{} // those that have not settled it
	place   *list.Element
}

// seenID is when an id was seen.
type seenID struct {
	id string
	at time.Time
}

// begin makes the store.
func (s *store) begin(o *Options) {
	s.opts = o
	s.consumers, s.keeps, s.ids = map[string]*consumer{}, map[string]struct{}{}, map[string]struct{}{}
}

// PublishDurable implements service.DurableBus.
func (b *Bus) PublishDurable(ctx context.Context, m *service.Message, id string) (duplicate bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := b.check(m); err != nil {
		return false, err
	}
	return b.broker.store.publish(m, id)
}

// publish keeps a copy of m.
func (s *store) publish(m *service.Message, id string) (duplicate bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.keepsSubject(m.Subject) {
		return false, fmt.Errorf("%w: %q", service.ErrNoStore, m.Subject)
	}
	if s.isDuplicate(id) {
		return true, nil
	}
	if s.kept.Len() >= s.opts.MaxKept || s.bytes+len(m.Data) > s.opts.MaxKeptBytes {
		return false, fmt.Errorf("%w: it has %d messages of %d bytes", service.ErrStoreFull, s.kept.Len(), s.bytes)
	}
	k := &kept{msg: *copyOf(m), id: id, size: len(m.Data), unready: map[*consumer]struct{}{}}
	k.msg.Reply = ""
	k.place = s.kept.PushBack(k)
	s.bytes += k.size
	s.remember(id)
	for _, c := range s.consumers {
		if service.MatchSubject(c.subject, m.Subject) {
			c.add(k)
		}
	}
	return false, nil
}

// keepsSubject reports whether anybody has asked for a subject to be kept.
func (s *store) keepsSubject(subject string) bool {
	for pattern := range s.keeps {
		if service.MatchSubject(pattern, subject) {
			return true
		}
	}
	return false
}

// isDuplicate reports whether an id was seen lately.
func (s *store) isDuplicate(id string) bool {
	now := time.Now()
	for len(s.seen) > 0 && now.Sub(s.seen[0].at) >= s.opts.Duplicates {
		delete(s.ids, s.seen[0].id)
		s.seen = s.seen[1:]
	}
	_, ok := s.ids[id]
	return ok
}

// remember remembers an id.
func (s *store) remember(id string) {
	if id == "" {
		return
	}
	if len(s.seen) >= s.opts.MaxKept {
		delete(s.ids, s.seen[0].id)
		s.seen = s.seen[1:]
	}
	s.ids[id] = struct{}{}
	s.seen = append(s.seen, seenID{id, time.Now()})
}

// settled says that c has settled k.
func (s *store) settled(k *kept, c *consumer) {
	delete(k.unready, c)
	if len(k.unready) == 0 && k.place != nil {
		s.kept.Remove(k.place)
		s.bytes -= k.size
		k.place = nil
	}
}

// consumer returns the consumer that c names, and makes it if there is none.
func (s *store) consumer(c *service.Consume) (*consumer, error) {
	if old := s.consumers[c.Name]; old != nil {
		if old.subject != c.Subject {
			return nil, fmt.Errorf("membus: the consumer %q has the subject %q, not %q", c.Name, old.subject, c.Subject)
		}
		return old, nil
	}
	n := &consumer{store: s, subject: c.Subject, wait: c.AckWait}
	s.consumers[c.Name] = n
	for e := s.kept.Front(); e != nil; e = e.Next() {
		if k := e.Value.(*kept); service.MatchSubject(c.Subject, k.msg.Subject) {
			n.add(k)
		}
	}
	return n, nil
}
