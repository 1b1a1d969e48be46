package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// The defaults of DurableOpts.
const (
	DefaultConcurrent = 16
	DefaultTries      = 5
	DefaultAckWait    = 30 * time.Second
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = time.Minute
)

// DurableOpts are the options of Durable. nil and the zero value mean the defaults.
type DurableOpts struct {
	// Name is that of the consumer: all instances that bind with it share the work. Default: the service's name and the subject.
	Name string
	// Concurrent is how many messages this instance handles at once. Default 16, at most Opts.MaxCalls.
	Concurrent int
	// Tries is how many times a message is handled before it is given up. Default 5.
	Tries int
	// Backoff is how long after a first failure it is handled again, and twice as long after each further one, up to MaxBackoff. Default
	// 1 s and 1 minute.
	Backoff, MaxBackoff time.Duration
	// AckWait is how long after an instance has vanished its messages are handled by others. A handler may take longer: while it
	// runs, the broker is told so. Default 30 s.
	AckWait time.Duration
	// DeadLetter is the subject, within the service, that a message goes to that was given up: as it was sent, with its id. It is kept there until
	// a durable binding of that subject takes it. It can't be one that the binding itself takes. Default: the subject with .dead behind it, and * as _;
	// with a last >, which takes that too, the subject with - for dots and -dead behind it: job-dead for job.>. A binding of > alone takes all
	// there is, and can't be durable.
	DeadLetter string
}

// Durable makes the binding one of durable messages: those that Client.SendDurable sends. Each is handled at least once: it is acknowledged when
// the handler has returned nil, and delivered again if that returned an error or panicked, or its instance vanished. It may be
// handled more than once, even by two instances at the same time if one of them is cut off from the broker; and the order isn't kept. So handlers have to be
// idempotent. An error with flyrpc.BadRequest means that trying again is of no use.
//
// A message that fails for the last time goes to the dead letter subject. One that no handler can ever take, because it is malformed or
// can't be decoded, or for which a handler returned BadRequest, goes there at once. Requests, and messages of Client.Send, are not for durable bindings. The bus has to be a
// DurableBus, or To fails.
func Durable(opts *DurableOpts) BindOption {
	var o DurableOpts
	if opts != nil {
		o = *opts
	}
	setDefault(&o.Concurrent, DefaultConcurrent)
	setDefault(&o.Tries, DefaultTries)
	setDefault(&o.Backoff, DefaultBackoff)
	setDefault(&o.MaxBackoff, DefaultMaxBackoff)
	setDefault(&o.AckWait, DefaultAckWait)
	return func(b *Binding) {
		d := &durable{DurableOpts: o, b: b}
		setDefault(&d.Name, b.svc.name+"-"+strings.Map(nameRune, b.subject))
		setDefault(&d.DeadLetter, deadSubject(b.subject))
		d.Concurrent = min(d.Concurrent, b.svc.opts.MaxCalls)
		b.durable = d
	}
}

// nameRune returns what stands for a rune of a subject in the name of a consumer.
func nameRune(r rune) rune {
	switch {
	case r == '.':
		return '-'
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		return r
	}
	return '_'
}

// deadSubject returns the default subject for the dead letters of a binding.
func deadSubject(pattern string) string {
	plain := strings.ReplaceAll(pattern, "*", "_")
	if rest, ok := strings.CutSuffix(plain, ".>"); ok {
		return strings.ReplaceAll(rest, ".", "-") + "-dead"
	}
	return plain + ".dead"
}

// checkDead says why the dead letters can't go where they are to go.
func (d *durable) checkDead() error {
	subject := d.b.svc.opts.subject(d.b.svc.name, d.DeadLetter)
	if d.b.subject == ">" || MatchSubject(d.b.subjects[0], subject) {
		return fmt.Errorf("service: the durable binding of %q would take its own dead letters, of %q, for ever: set DurableOpts.DeadLetter to a subject that it doesn't match",
			d.b.subject, d.DeadLetter)
	}
	return CheckSubject(subject, false)
}

// durable is what a durable binding has.
type durable struct {
	DurableOpts
	b    *Binding
	bus  DurableBus
	next atomic.Uint64 // names deliveries
}

// consume begins to take durable messages. It is called with mu held.
func (b *Binding) consume() error {
	d := b.durable
	bus, ok := b.svc.bus.(DurableBus)
	if !ok {
		return fmt.Errorf("service: Durable needs a bus that is a DurableBus, and %T isn't", b.svc.bus)
	}
	if b.once {
		return errors.New("service: a durable binding can't be for one message")
	}
	if err := d.checkDead(); err != nil {
		return err
	}
	d.bus = bus
	sub, err := bus.Consume(Consume{
		Subject: b.subjects[0], Name: d.Name, Keep: []string{b.svc.opts.subject(b.svc.name, d.DeadLetter)},
		Concurrent: d.Concurrent, AckWait: d.AckWait, Handler: d.handle,
	})
	if err != nil {
		return err
	}
	b.subs = []Subscription{sub}
	return nil
}

// handle takes a delivery, which is fed to a lane as a request whose outcome settles it.
func (d *durable) handle(x *Delivery) {
	if x.Tries > d.Tries {
		go d.bury(x, "it was delivered too often")
		return
	}
	h, body, err := parseHeader(x.Data)
	var sender from
	if err == nil {
		sender, body, err = cutFrom(body)
	}
	if err == nil && h.kind != kindOpen {
		err = fmt.Errorf("its kind is %d", h.kind)
	}
	var p packet
	if err == nil {
		p, err = wholePacket(body)
	}
	var l *lane
	if err == nil {
		l, err = d.b.lane(sender.serializer)
	}
	if err != nil {
		d.b.svc.malformed(&x.Message, err)
		go d.bury(x, err.Error())
		return
	}
	raw := append([]byte(nil), p.raw...)
	raw[0] |= byte(flyrpc.FlagWait)
	work := d.working(x, l)
	l.open(&x.Message, callKey{call: d.next.Add(1)}, raw, sender.source, func(code flyrpc.Code) {
		work.Stop()
		d.settle(x, code)
	})
}

// working tells the broker that a message is still being handled, until it is stopped.
func (d *durable) working(x *Delivery, l *lane) *time.Timer {
	var t *time.Timer
	begun := make(chan struct{})
	t = time.AfterFunc(d.AckWait/3, func() {
		<-begun
		select {
		case <-l.overC: // nobody will settle it
			return
		default:
		}
		if x.Settle.Working() == nil {
			t.Reset(d.AckWait / 3)
		}
	})
	close(begun)
	return t
}

// settle settles a delivery by the outcome of its handler.
func (d *durable) settle(x *Delivery, code flyrpc.Code) {
	ctx, cancel := context.WithTimeout(context.Background(), d.b.svc.opts.SendTimeout)
	defer cancel()
	var err error
	switch {
	case code == "":
		err = x.Settle.Ack(ctx)
	case d.b.isUnbound(): // which may be why: it is no fault of the message's
		err = x.Settle.Retry(0)
	case x.Tries >= d.Tries || code == flyrpc.BadRequest:
		d.bury(x, string(code))
	default:
		err = x.Settle.Retry(d.backoff(x.Tries))
	}
	if err != nil {
		d.b.svc.opts.Logger.Warn("service: a durable message was not settled, and will come again", "subject", x.Subject, "error", err)
	}
}

// backoff returns how long to wait after a number of tries.
func (d *durable) backoff(tries int) time.Duration {
	wait := d.Backoff
	for range tries - 1 {
		if wait >= d.MaxBackoff/2 {
			return d.MaxBackoff
		}
		wait *= 2
	}
	return min(wait, d.MaxBackoff)
}

// bury sends a message to the dead letter subject and acknowledges it. If that fails it comes again.
func (d *durable) bury(x *Delivery, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), d.b.svc.opts.SendTimeout)
	defer cancel()
	dead := Message{Subject: d.b.svc.opts.subject(d.b.svc.name, d.DeadLetter), Data: deadLetter(x.Data, d.DeadLetter)}
	_, err := d.bus.PublishDurable(ctx, &dead, deadID(x.ID))
	if err == nil {
		err = x.Settle.Ack(ctx)
	} else {
		_ = x.Settle.Retry(d.MaxBackoff)
	}
	d.b.svc.opts.Logger.Warn("service: a durable message was given up", "subject", x.Subject, "id", x.ID, "tries", x.Tries, "why", why, "dead letter", dead.Subject, "error", err)
}

// deadID returns the id of the dead letter of a message, which a bus takes that takes that of the message.
func deadID(id string) string {
	switch {
	case id == "":
		return ""
	case len(id) > 2*sha256.Size:
		return fmt.Sprintf("%x.dead", sha256.Sum256([]byte(id)))
	}
	return id + ".dead"
}

// deadLetter returns a durable message whose path is another, or the bytes as they are if they are none.
func deadLetter(data []byte, path string) []byte {
	h, body, err := parseHeader(data)
	if err != nil {
		return data
	}
	sender, raw, err := cutFrom(body)
	if err != nil {
		return data
	}
	p, err := wholePacket(raw)
	if err != nil {
		return data
	}
	p.code = []byte(path)
	return h.append(nil, sender.append(nil), appendWhole(nil, &p))
}
