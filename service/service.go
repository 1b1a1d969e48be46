// Package service offers the handlers of FlyRPC as named services over a Bus, on which many programs, and many instances of
// each, find each other by subjects: see docs/services.md.
//
//	svc := service.New("user-service", membus.New(nil), nil)
//	defer svc.Close()
//	err := svc.QueueBind("user.get").To(func(ctx *flyrpc.Context, q *Lookup) (*User, error) { ... })
//	err = svc.Service("mailer").Request(ctx, "welcome", mail).Into(&receipt)
package service

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// ErrClosed is what the methods of a Service return after Close or Shutdown.
var ErrClosed = errors.New("service: the service is closed")

// controlToken is the subject, within a service, that all its instances are told of calls that were given up by. No binding may have it.
const controlToken = "_FLY"

// Service is one instance of a named service: what it binds is served to the others on the bus, and it calls them. All
// methods may be called concurrently.
type Service struct {
	name, id    string
	bus         Bus
	opts        Opts
	inboxPrefix string
	started     time.Time
	stats       counters
	held        atomic.Int64 // bytes of large messages that are coming
	givenUp     givenUp

	mu         sync.Mutex
	middleware []flyrpc.Middleware
	links      map[linkKey]*linkEntry
	bindings   map[*Binding]struct{}
	lanes      map[string]*lane // by the last token of their inboxes
	subs       []Subscription
	stop       func() error // ends being announced
	announced  bool
	closed     bool
	waits      chan struct{} // closed when something has ended; nil if nobody waits
}

type linkKey struct {
	target string
	use    linkUse
}

// linkUse is what a link is for.
type linkUse uint8

const (
	forCalls   linkUse = iota
	forDurable         // requests are durable messages; see durablesend.go
	forCasts           // requests are parts of casts; see cast.go
)

type linkEntry struct {
	link   *link
	client *flyrpc.Client
}

// New returns an instance of the service of a name, which is a token of a subject: letters, digits, - and _. The bus is the
// caller's: it isn't closed with the Service. A nil opts means the defaults. It panics if the name is none, if the bus takes messages of less than 1 KiB,
// or the name of a serializer is longer than 63 bytes.
func New(name string, bus Bus, opts *Opts) *Service {
	o := opts.withDefaults()
	if err := checkServiceName(name); err != nil {
		panic(fmt.Sprintf("service: New: %v", err))
	}
	if most := bus.MaxPayload(); most < 1<<10 {
		panic(fmt.Sprintf("service: New: the bus takes messages of %d bytes, 1,024 are the least", most))
	}
	if !strings.HasSuffix(o.SubjectFormat, "{subject}") || !strings.Contains(o.SubjectFormat, "{service}") {
		panic(fmt.Sprintf("service: New: Opts.SubjectFormat is %q: it needs {service}, and {subject} at its end", o.SubjectFormat))
	}
	for _, s := range o.Serializers {
		if len(s.Name()) > maxName {
			panic(fmt.Sprintf("service: New: the serializer's name %q has more than %d bytes", s.Name(), maxName))
		}
	}
	s := &Service{
		name: name, id: strconv.FormatUint(newID(), 36), bus: bus, opts: o, started: time.Now(),
		links: map[linkKey]*linkEntry{}, bindings: map[*Binding]struct{}{}, lanes: map[string]*lane{},
	}
	s.inboxPrefix = o.InboxPrefix + "." + s.id + "."
	return s
}

// checkServiceName says what is wrong with a service's name.
func checkServiceName(name string) error {
	if err := CheckSubject(name, false); err != nil {
		return err
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) {
		return fmt.Errorf("%w: the service's name %q may have letters, digits, - and _ alone", ErrBadSubject, name)
	}
	return nil
}

// newID returns a random number that isn't 0.
func newID() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) | 1
}

// Name returns the service's name, which all its instances have.
func (s *Service) Name() string { return s.name }

// ID returns what no other instance is called.
func (s *Service) ID() string { return s.id }

// Use adds middleware around the handlers of all bindings that are made from now on, the first one outermost.
func (s *Service) Use(middleware ...flyrpc.Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.middleware = append(s.middleware, middleware...)
}

// chunk returns how many bytes of what is large travel together.
func (s *Service) chunk() int { return min(s.opts.Chunk, s.opts.MaxMessage, s.bus.MaxPayload()/4*3) }

// publish publishes m.
func (s *Service) publish(m *Message) error { return s.bus.Publish(m) }

// codeOf returns the code of an error of a bus.
func codeOf(err error) flyrpc.Code {
	switch {
	case errors.Is(err, ErrBadSubject):
		return flyrpc.BadRequest
	case errors.Is(err, ErrTooLarge):
		return flyrpc.TooLong
	case errors.Is(err, context.DeadlineExceeded):
		return flyrpc.Timeout
	case errors.Is(err, ErrStoreFull):
		return flyrpc.Busy
	}
	return flyrpc.Unavailable
}

// progress tells who waits that something has ended.
func (s *Service) progress() {
	if !s.stats.awaited.Load() {
		return
	}
	go func() { // callers hold locks
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.waits != nil {
			close(s.waits)
			s.waits = nil
		}
	}()
}

// await waits until nothing is busy any more, or ctx ends.
func (s *Service) await(ctx context.Context, busy func() bool) error {
	s.stats.awaited.Store(true)
	for {
		s.mu.Lock()
		if s.waits == nil {
			s.waits = make(chan struct{})
		}
		ended := s.waits
		s.mu.Unlock()
		if !busy() {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen subscribes to the subjects that an instance needs that binds something. It is called with mu held.
func (s *Service) listen() error {
	if s.closed {
		return ErrClosed
	}
	if len(s.subs) > 0 {
		return nil
	}
	inbox, err := s.bus.Subscribe(Subscribe{Subject: s.inboxPrefix + "*", Handler: s.inbox, Dropped: s.slow})
	if err != nil {
		return err
	}
	control, err := s.bus.Subscribe(Subscribe{Subject: s.opts.subject(s.name, controlToken), Handler: s.control, Dropped: s.slow})
	if err != nil {
		inbox.Close()
		return err
	}
	s.subs = []Subscription{inbox, control}
	return nil
}

// inbox takes frames for calls that lanes have taken.
func (s *Service) inbox(m *Message) {
	if m.NoResponders {
		return
	}
	var some [usualFrames]frame
	frames, err := parseFrames(some[:0], m.Data)
	if err != nil {
		s.malformed(m, err)
		return
	}
	s.mu.Lock()
	l := s.lanes[strings.TrimPrefix(m.Subject, s.inboxPrefix)]
	s.mu.Unlock()
	if l != nil {
		l.handle(m, frames)
	}
}

// control takes that calls were given up.
func (s *Service) control(m *Message) {
	h, _, err := parseHeader(m.Data)
	if err == nil && h.kind != kindDrop {
		err = fmt.Errorf("the kind %d isn't for all instances", h.kind)
	}
	if err != nil {
		s.malformed(m, err)
		return
	}
	s.givenUp.add(callKey{h.sender, h.call}) // before lanes are asked: one that takes it now finds it there
	for _, l := range s.allLanes() {
		l.dropCall(callKey{h.sender, h.call})
	}
}

// allLanes returns the lanes of all bindings.
func (s *Service) allLanes() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.lanes))
}
