package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/serializer"
)

// ErrBindingClosed is what a Binding's methods return when it was unbound, or its service closed.
var ErrBindingClosed = errors.New("service: the binding is closed")

// Binding is a subject, or a pattern of them, of a service, and who takes what is sent there. To, Next or All begin to take it. All methods
// may be called concurrently.
type Binding struct {
	svc      *Service
	subject  string   // within the service
	subjects []string // on the bus
	control  string   // the subject on the bus of calls that were given up
	queue    string
	once     bool
	durable  *durable
	router   *flyrpc.Router
	server   *flyrpc.Server
	stats    endpointStats
	inbox    chan *Incoming
	served   atomic.Pointer[string] // a path that is one of the binding's
	wrong    error                  // what is wrong with it from the beginning

	mu       sync.Mutex
	ctx      context.Context
	stopCtx  func() bool
	state    bindingState
	subs     []Subscription
	lanes    map[string]*lane
	closed   chan struct{} // closed by Unbind
	finished chan struct{} // closed when all that was taken is done
	serving  sync.WaitGroup
}

// bindingState says what has become of a binding.
type bindingState uint8

const (
	bound   bindingState = iota // nothing is taken yet
	handled                     // by To
	pulled                      // by Next and All
	unbound
)

// Bind binds a subject of this service for every instance that binds it: each gets each message and request. The subject may have
// the wildcards * and >, and be a path: see SubjectOf. Nothing is taken before To, Next or All.
func (s *Service) Bind(subject string) *Binding { return s.bind(subject, "") }

// BindOnce is Bind for one message or request, after which the binding is unbound.
func (s *Service) BindOnce(subject string) *Binding {
	b := s.bind(subject, "")
	b.once = true
	return b
}

// QueueBind binds a subject so that one of all instances that bind it so gets each message and request. Bindings of both kinds may be made for one subject at
// once: a message goes to all of Bind, and to one of QueueBind.
func (s *Service) QueueBind(subject string, opts ...BindOption) *Binding {
	b := s.bind(subject, s.name)
	for _, o := range opts {
		o(b)
	}
	return b
}

// BindOption is an option of QueueBind.
type BindOption func(*Binding)

// bind makes a binding.
func (s *Service) bind(subject, queue string) *Binding {
	subject = SubjectOf(subject)
	b := &Binding{
		svc: s, subject: subject, queue: queue, lanes: map[string]*lane{}, inbox: make(chan *Incoming),
		closed: make(chan struct{}), finished: make(chan struct{}), router: flyrpc.NewRouter(),
	}
	b.subjects, b.control = []string{s.opts.subject(s.name, subject)}, s.opts.subject(s.name, controlToken)
	b.wrong = CheckSubject(b.subjects[0], true)
	if subject == controlToken {
		b.wrong = fmt.Errorf("%w: %s is FlyRPC's own", ErrBadSubject, subject)
	}
	return b
}

// To has a handler take what comes: any flyrpc.MessageHandler, which sees it as on a connection. Its Context's Path is what the caller has
// written. It panics, as Router.OnMessage does, if the handler's type is wrong. The error is why the subject can't be bound.
func (b *Binding) To(h flyrpc.MessageHandler) error {
	return b.begin(handled, h)
}

// WithCtx unbinds the binding when ctx ends, and returns it. It panics when it is called a second time.
func (b *Binding) WithCtx(ctx context.Context) *Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx != nil {
		panic("service: Binding.WithCtx was called before: a binding has one context")
	}
	b.ctx = ctx
	b.stopCtx = context.AfterFunc(ctx, b.Unbind)
	return b
}

// begin subscribes, for To or for Next and All. The handler is nil if the router has its own.
func (b *Binding) begin(as bindingState, h flyrpc.MessageHandler) error {
	err := b.beginOnce(as, h)
	if err == nil {
		b.svc.announce()
	}
	return err
}

// beginOnce is begin, but for what others are told of it.
func (b *Binding) beginOnce(as bindingState, h flyrpc.MessageHandler) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.svc.mu.Lock()
	defer b.svc.mu.Unlock()
	switch {
	case b.state == unbound:
		return ErrBindingClosed
	case b.state == as && as == pulled:
		return nil
	case b.state != bound:
		return errors.New("service: the binding has a handler already: To goes once, and not together with Next and All")
	case b.wrong != nil:
		return b.wrong
	case b.ctx != nil && b.ctx.Err() != nil:
		return ErrBindingClosed
	}
	if h != nil {
		b.router.NotFound(h)
	}
	if err := b.svc.listen(); err != nil {
		return err
	}
	if b.server == nil {
		b.router.Use(b.svc.middleware...)
		b.serve(b.router)
	}
	if err := b.subscribe(); err != nil {
		return err
	}
	b.state = as
	b.svc.bindings[b] = struct{}{}
	return nil
}

// serve makes the server of the binding's requests.
func (b *Binding) serve(r *flyrpc.Router) {
	o := &b.svc.opts
	b.server = r.NewServer(&flyrpc.ServerOpts{
		MaxMessage: o.MaxMessage, MaxFrame: max(maxFrame, o.maxSourced()), MaxCalls: o.MaxCalls, StreamWindow: window, MessageWindow: o.messageWindow(),
		KeepaliveTime: -1, Serializers: o.Serializers, Errors: o.Errors, Logger: o.Logger, Zip: o.Zip,
	})
}

// shared reports whether other instances get what this one gets. It can't say that a request was not processed then: another one's handler may run.
func (b *Binding) shared() bool { return b.queue == "" }

// subscribe subscribes to the binding's subjects. It is called with mu held.
func (b *Binding) subscribe() error {
	if b.durable != nil {
		return b.consume()
	}
	for _, subject := range b.subjects {
		sub, err := b.svc.bus.Subscribe(Subscribe{
			Subject: subject, Queue: b.queue, Handler: b.handle, Dropped: b.slow,
			Pending: b.svc.opts.Pending, PendingBytes: b.svc.opts.PendingBytes,
		})
		if err != nil {
			for _, s := range b.subs {
				s.Close()
			}
			b.subs = nil
			return err
		}
		b.subs = append(b.subs, sub)
	}
	return nil
}

// slow counts what was dropped.
func (b *Binding) slow(n uint64) {
	b.stats.dropped.Add(n)
	b.svc.slow(n)
}

// serves says why a path isn't one of this binding's.
func (b *Binding) serves(path []byte) error {
	if last := b.served.Load(); last != nil && *last == string(path) {
		return nil
	}
	subject := b.svc.opts.subject(b.svc.name, SubjectOf(string(path)))
	for _, pattern := range b.subjects {
		if pattern == subject || MatchSubject(pattern, subject) {
			served := string(path)
			b.served.Store(&served)
			return nil
		}
	}
	return fmt.Errorf("the path %.100q was sent to a subject that isn't its own", path)
}

// handle takes what opens calls, or offers them.
func (b *Binding) handle(m *Message) {
	if m.NoResponders || m.Subject == b.control { // what is FlyRPC's own matches wildcards too
		return
	}
	var some [usualFrames]frame
	frames, err := parseFrames(some[:0], m.Data)
	if err == nil && m.Reply != "" { // answers to others may go to it
		err = CheckSubject(m.Reply, false)
	}
	if err != nil {
		b.svc.malformed(m, err)
		return
	}
	var l *lane // of the last frame
	for i := range frames {
		l = b.take(m, &frames[i], l)
	}
	if l != nil {
		l.pipe.wake()
	}
}

// take takes a frame that opens a call, or offers it. last is the lane of the one before it; that of this one is returned.
func (b *Binding) take(m *Message, f *frame, last *lane) *lane {
	offer := 0
	if f.kind == kindOffer {
		offer = min(8, len(f.body))
	}
	sender, rest, err := cutFrom(f.body[offer:])
	if err == nil && f.kind != kindOpen && f.kind != kindOffer && f.kind != kindInvite {
		err = fmt.Errorf("its kind is %d", f.kind)
	}
	if err != nil {
		b.svc.malformed(m, err)
		return last
	}
	if f.kind == kindOpen && m.Reply != "" && len(rest) > 0 && flyrpc.Flag(rest[0])&flyrpc.FlagWait == 0 {
		m = &Message{Subject: m.Subject, Data: m.Data} // the reply subject is that of the requests it has come with
	}
	key, l := callKey{f.sender, f.call}, last
	if l == nil || l.ser != string(sender.serializer) {
		if last != nil {
			last.pipe.wake()
		}
		l, err = b.lane(sender.serializer)
	}
	switch {
	case err != nil && m.Reply != "":
		_ = b.svc.publish(&Message{Subject: m.Reply, Data: (&header{kind: kindMore, sender: newID(), call: key.call}).append(nil,
			appendError(nil, 0, flyrpc.BadRequest, err.Error(), !b.shared()))})
	case err != nil:
		b.svc.malformed(m, err)
	case b.once && !b.first():
	case f.kind == kindInvite:
		l.invited(m, key, rest)
	case f.kind == kindOffer:
		l.fetch(m, key, f.body[:offer], sender.source)
	default:
		l.opener(m, key, rest, sender.source, nil)
	}
	return l
}

// first ends a binding that takes one message, and reports whether this is it.
func (b *Binding) first() bool {
	was := b.isUnbound()
	if !was {
		b.Unbind()
	}
	return !was
}

// lane returns the lane for a serializer, and makes it if there is none.
func (b *Binding) lane(name []byte) (*lane, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.lanes[string(name)]; l != nil {
		return l, nil
	}
	ser := string(name)
	if !slices.ContainsFunc(b.svc.opts.Serializers, func(s serializer.Serializer) bool { return s.Name() == ser }) {
		return nil, fmt.Errorf("no serializer %q is known here", ser)
	}
	l := newLane(b, ser)
	b.lanes[ser] = l
	b.svc.addLane(l)
	b.serving.Go(func() { b.server.ServeConn(l.pipe) })
	return l, nil
}

// addLane has a lane's inbox served.
func (s *Service) addLane(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes[strings.TrimPrefix(l.inbox, s.inboxPrefix)] = l
}

// forgetLane takes a lane off the books.
func (b *Binding) forgetLane(l *lane) {
	b.mu.Lock()
	if b.lanes[l.ser] == l {
		delete(b.lanes, l.ser)
	}
	b.mu.Unlock()
	b.svc.mu.Lock()
	delete(b.svc.lanes, strings.TrimPrefix(l.inbox, b.svc.inboxPrefix))
	b.svc.mu.Unlock()
}
