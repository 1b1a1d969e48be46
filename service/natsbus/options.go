package natsbus

import (
	"log/slog"
	"time"
)

// The defaults of Opts.
const (
	DefaultSendTimeout = 5 * time.Second
	DefaultStoreBytes  = 64 << 20 // bytes
	DefaultDuplicates  = 2 * time.Minute
	DefaultKeepAge     = 30 * 24 * time.Hour
)

// Opts are the options of a Bus. nil and the zero value mean the defaults.
type Opts struct {
	// SendTimeout is how long PublishDurable waits for the broker's acknowledgement, and Flush for its answer, if their contexts have no
	// deadline, and how long the broker is told that a message is handled. Default 5 s.
	SendTimeout time.Duration
	// Store says how durable messages are kept.
	Store StoreOpts
	// Logger takes what the Bus has to say: connections that are lost and found again, messages that were dropped, brokers that don't answer.
	// Default: slog.Default().
	Logger *slog.Logger
}

// StoreOpts say how a store, which is a JetStream stream, is made for a subject that has none. A stream that has the
// subject is used as it is, so its settings may as well come from elsewhere. See docs/nats.md.
type StoreOpts struct {
	// Replicas is how many servers of a cluster keep each message: 1, 3 or 5. Default 1. With 3, one of them may be lost.
	Replicas int
	// Memory keeps messages in the servers' memory and not on disk.
	Memory bool
	// MaxBytes is the most bytes of messages that a store has. Beyond that publishing fails, and nothing is lost that was
	// acknowledged. Default 64 MiB.
	MaxBytes int64
	// Duplicates is how long the id of a message is remembered. Default 2 min.
	Duplicates time.Duration
	// KeepAge is the longest that the messages of Consume.Keep are kept, such as dead letters. Default 30 days. Other
	// messages are kept until each consumer has settled them, and so are these once they have one.
	KeepAge time.Duration
}

// withDefaults returns a copy of o with its zeros replaced.
func (o *Opts) withDefaults() Opts {
	var c Opts
	if o != nil {
		c = *o
	}
	setDefault(&c.SendTimeout, DefaultSendTimeout)
	setDefault(&c.Store.Replicas, 1)
	setDefault(&c.Store.MaxBytes, DefaultStoreBytes)
	setDefault(&c.Store.Duplicates, DefaultDuplicates)
	setDefault(&c.Store.KeepAge, DefaultKeepAge)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
