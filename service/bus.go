package service

import (
	"context"
	"time"
)

// Bus carries messages from publishers to whoever has subscribed to their subjects. Named services talk over one, and
// know nothing else of it: membus is one inside the process, natsbus one that NATS carries. Package bustest
// checks that a Bus does what is said here.
//
// A subject is one or more tokens, separated by dots, with neither white space, control bytes nor empty tokens. In a
// subscription the token * stands for any one token, and > as the last for one or more. CheckSubject and MatchSubject
// are that rule.
//
// A message is delivered at most once to each subscription without a queue, and to one of those of each queue. It
// may be lost, when the bus's own connection is lost or a subscription can't keep up. It is never cut and never
// changed. Messages of one Bus to one subscription keep the order in which Publish was called.
//
// All methods may be called concurrently, also by handlers. After Close they return an error that matches ErrBusClosed.
type Bus interface {
	// Publish sends m to whoever has subscribed to its subject. It keeps neither m nor its data. It returns when m is
	// queued to be sent, which doesn't mean that anybody gets it, and doesn't wait for handlers.
	//
	// If m has a reply subject and nobody has subscribed to m.Subject, a Message with NoResponders is delivered
	// to the reply subject at once. The error matches ErrTooLarge if m has more than MaxPayload bytes, in which
	// case nothing is sent.
	Publish(m *Message) error
	// Subscribe has s.Handler called for what is published from now on. What the same Bus publishes after Subscribe has
	// returned reaches it; for others see Flush.
	Subscribe(s Subscribe) (Subscription, error)
	// MaxPayload returns how many bytes of data a message may have: at least 1 KiB. It may change
	// when the bus connects to another server, and is meant to be asked each time.
	MaxPayload() int
	// Flush returns when all that was published and subscribed before has reached the broker: what anybody
	// publishes afterwards reaches the subscriptions. The error is that of ctx, or why it can't.
	Flush(ctx context.Context) error
	// Close closes all subscriptions and lets go of what the Bus has made for itself. It doesn't wait for
	// handlers. Later calls do nothing and return nil.
	Close() error
}

// Message is what a Bus carries.
type Message struct {
	// Subject is where it is published to, without wildcards.
	Subject string
	// Reply is the subject that answers should be published to, or empty.
	Reply string
	// Data is the content. A handler owns it, and may keep and change it.
	Data []byte
	// NoResponders says, in a message that a Bus delivers, that nobody had subscribed to the subject of a message that was
	// published with a reply subject, which is Subject here. Nothing else is set then.
	NoResponders bool
}

// Subscribe is what a Bus is to deliver.
type Subscribe struct {
	// Subject may have wildcards.
	Subject string
	// Queue, if it isn't empty, is a name: of all subscriptions with it that match a message's subject, with whatever
	// wildcards and in whatever process, one gets the message.
	Queue string
	// Pending is how many messages may wait while Handler runs, and PendingBytes how many bytes of data in
	// them, unless it is one alone. What comes beyond is dropped. Default 65,536 and 64 MiB.
	Pending, PendingBytes int
	// Handler takes each message. It is called by one goroutine at a time and in order. While it
	// runs the next messages of this subscription wait, and those of others don't. The Message is its own.
	Handler func(m *Message)
	// Dropped is told when messages were dropped because too many waited: n more of them. It may be called concurrently, on any
	// goroutine but one that waits for a Handler, may publish, and may be nil.
	Dropped func(n uint64)
}

// The defaults of Subscribe.
const (
	DefaultPending      = 65_536
	DefaultPendingBytes = 64 << 20
)

// Subscription is what Subscribe has made. Its methods may be called concurrently.
type Subscription interface {
	// Close ends the subscription: Handler isn't called any more, and what waits is dropped. A call of
	// Handler that runs goes on; Close doesn't wait for it, and may be called by it. Later calls do nothing. It returns nil, or why the
	// broker could not be told.
	Close() error
	// Drain ends the subscription without dropping anything: no more is delivered to it, Handler is called for all
	// that was delivered before, and then Drain returns. In a queue what comes later goes to others. The error is that of ctx, after
	// which the subscription is closed. Handler must not call it.
	Drain(ctx context.Context) error
}

// DurableBus is a Bus that also keeps messages until they are handled. It promises at-least-once delivery: a message whose
// publishing was acknowledged is delivered to each consumer until that has settled it, across restarts of the
// programs, and of the broker if that stores on disk. It may be delivered more than once, and out of order.
type DurableBus interface {
	Bus
	// PublishDurable publishes m to be kept, and returns when the broker has acknowledged that it is. The reply subject isn't kept.
	//
	// id, unless it is empty, names the message: one with an id that the broker has seen within its time for duplicates (two minutes unless the bus
	// says otherwise) is acknowledged and dropped, and duplicate is true. With an error, which may be that of ctx, the message may be kept or
	// not: publishing it again with the same id is safe. Ids are unique among all subjects. An error that matches ErrStoreFull means that
	// the store has reached its limit and takes no more until something is settled. An error that matches ErrNoStore means that no consumer and no
	// configuration has ever asked for the subject to be kept.
	PublishDurable(ctx context.Context, m *Message, id string) (duplicate bool, err error)
	// Consume has c.Handler called for the messages kept for c.Subject, and makes what the broker needs for that:
	// the store and the consumer, if they don't exist. Consumers of the same name share the messages, in whatever process;
	// each name gets all of them, and one that is first used begins with what is still kept, which is at least what no other consumer has
	// settled. Closing or draining the Subscription doesn't delete the
	// consumer: messages wait for the next of its name.
	//
	// Close gives back what was delivered and is not settled, which is delivered again after AckWait at the latest. Drain waits until
	// that is settled.
	Consume(c Consume) (Subscription, error)
}

// Consume says how durable messages are delivered.
type Consume struct {
	// Subject may have wildcards.
	Subject string
	// Name is that of the consumer, shared by all who handle the same work: letters, digits, - and _.
	Name string
	// Keep are more subjects that have to be kept in a store, for PublishDurable: those of dead letters. They may have wildcards.
	Keep []string
	// Concurrent is how many messages may be delivered to this Subscription and not settled: at least 1.
	Concurrent int
	// AckWait is how long after its delivery, or its last Working, a message may be unsettled before it is delivered again. It is
	// the same for all consumers of a name.
	AckWait time.Duration
	// Handler takes each delivery. It is called by one goroutine at a time and has to return soon: work
	// goes on elsewhere, and ends with one of the methods of the Delivery's Settle.
	Handler func(d *Delivery)
}

// Delivery is a durable message that is delivered.
type Delivery struct {
	Message
	// ID is what it was published with.
	ID string
	// Tries is how many times it was delivered, this one included.
	Tries int
	// Settle says what has become of it.
	Settle Settler
}

// Settler settles one delivery. Its methods return an error if the broker could not be told, or the delivery was
// settled already: the message may then be delivered again.
type Settler interface {
	// Ack says that the message is handled, and returns when the broker knows it.
	Ack(ctx context.Context) error
	// Retry has the message delivered again, to any consumer of the name, after a delay.
	Retry(delay time.Duration) error
	// Working says that the message is still being handled: AckWait begins anew.
	Working() error
}

// Discoverable is a Bus on which running services can be found by the broker's own tools.
type Discoverable interface {
	// Announce makes an instance of a service known until stop is called. status is asked for how it is doing
	// now; it may be called concurrently and returns soon.
	Announce(i Instance, status func() []Endpoint) (stop func() error, err error)
}

// Instance is what is announced of a running service.
type Instance struct {
	// Name is that of the service, ID that of this instance of it, and Version is a semantic version such as 1.0.0.
	Name, ID, Version string
	// Description is a text for people. Meta are more of them, by name.
	Description string
	Meta        map[string]string
	// Started is when the instance was made.
	Started time.Time
}

// Endpoint is one subject that an instance has bound, and what has come of it.
type Endpoint struct {
	// Subject may have wildcards. Queue is empty if every instance gets every message.
	Subject, Queue string
	// Requests is how many messages and requests were taken, and Errors how many of them failed.
	Requests, Errors uint64
	// LastError is the last failure's text, or empty.
	LastError string
	// Dropped is how many messages were lost because too many waited.
	Dropped uint64
	// Busy is the time that handlers took altogether.
	Busy time.Duration
}
