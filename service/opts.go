package service

import (
	"log/slog"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

// The defaults of Opts.
const (
	DefaultMaxHeld        = 64 << 20
	DefaultChunk          = 16 << 10
	MaxChunk              = 60 << 10
	DefaultRequestTimeout = 30 * time.Second
	DefaultSendTimeout    = 5 * time.Second
	DefaultProbeTime      = 10 * time.Second
	DefaultSubjectFormat  = "{service}.{subject}"
	DefaultInboxPrefix    = "_INBOX"
	DefaultVersion        = "0.0.0"
)

// Opts are the options of a Service. nil and the zero value mean the defaults. New copies them.
type Opts struct {
	// MaxMessage is the largest message and reply accepted and sent, in bytes; io.Reader is exempt. Default 4 MiB. It is meant to be
	// the same for all services of a bus.
	MaxMessage int
	// MaxCalls is how many requests are handled at once for each binding, and as many messages beside them. A request more is
	// answered BUSY, not processed; messages wait on the bus. Default 1,024, at most 32,702.
	MaxCalls int
	// MaxHeld is how many bytes of large messages are held at once: at the sender those that are fetched in chunks, for 250 ms more, and at the
	// receiver those that have not come to their end or, without an answer, wait for a handler. Callers wait beyond, and receivers answer BUSY, not
	// processed, as they do beyond 1,024 of them for a binding. Default 64 MiB, and at least twice MaxMessage.
	MaxHeld int
	// Chunk is how many bytes of what is larger than one message of the bus, and of a reply or an item, travel together. Default 16 KiB,
	// at most 60 KiB, MaxMessage, and three quarters of what the bus takes.
	Chunk int
	// RequestTimeout is how long Request waits for the answer. Default 30 s.
	RequestTimeout time.Duration
	// SendTimeout is how long the other end of a large message may be silent before it is given up: the sender keeps it for so long, and
	// the receiver waits for so long for the next chunk. Default 5 s.
	SendTimeout time.Duration
	// ProbeTime is how long nothing may come of a call with items before its other end is asked whether it is still there. After as long again without an
	// answer the call fails with UNAVAILABLE. Default 10 s.
	ProbeTime time.Duration
	// SubjectFormat makes a subject of the bus of a service's name and a subject within it. Default {service}.{subject}.
	// It must be the same for all who talk to each other, and {subject} has to be its last tokens.
	SubjectFormat string
	// InboxPrefix is what the subjects begin with to which answers go. Default _INBOX, as NATS has it.
	InboxPrefix string
	// Pending and PendingBytes are how many messages of a binding may wait on this side of the bus; see Subscribe.
	Pending, PendingBytes int

	// Serializer is what this service's requests are encoded with. Default: MessagePack.
	Serializer serializer.Serializer
	// Serializers are what requests to this service may be encoded with. Default: Serializer, MessagePack and JSON.
	Serializers []serializer.Serializer
	// Errors are the program's own errors by the codes they travel with; see flyrpc.ServerOpts.
	Errors map[flyrpc.Code]error
	// Zip says what is compressed. Zip.Code is not used. Default: nothing.
	Zip flyrpc.Zip
	// Intercept wraps the calls and messages of all clients of this service, the first one outermost.
	Intercept []flyrpc.Interceptor
	// Logger takes what the service has to say. Default: slog.Default().
	Logger *slog.Logger

	// Version, Description and Meta are what tools see of the service, where the bus can be asked; see Instance. Default
	// version: 0.0.0.
	Version, Description string
	Meta                 map[string]string
}

// withDefaults returns o, which may be nil, with its defaults.
func (o *Opts) withDefaults() Opts {
	var n Opts
	if o != nil {
		n = *o
	}
	setDefault(&n.MaxMessage, flyrpc.DefaultMaxMessage)
	setDefault(&n.MaxCalls, flyrpc.DefaultMaxCalls)
	n.MaxCalls = min(n.MaxCalls, maxCalls)
	setDefault(&n.MaxHeld, DefaultMaxHeld)
	n.MaxHeld = max(n.MaxHeld, 2*n.maxWhole())
	setDefault(&n.Chunk, DefaultChunk)
	n.Chunk = max(256, min(n.Chunk, MaxChunk))
	setDefault(&n.RequestTimeout, DefaultRequestTimeout)
	setDefault(&n.SendTimeout, DefaultSendTimeout)
	setDefault(&n.ProbeTime, DefaultProbeTime)
	setDefault(&n.SubjectFormat, DefaultSubjectFormat)
	setDefault(&n.InboxPrefix, DefaultInboxPrefix)
	setDefault(&n.Version, DefaultVersion)
	if n.Serializer == nil {
		n.Serializer = msgpack.Serializer
	}
	if len(n.Serializers) == 0 {
		n.Serializers = []serializer.Serializer{n.Serializer, msgpack.Serializer, jsonser.Serializer}
	}
	if n.Logger == nil {
		n.Logger = slog.Default()
	}
	n.Zip.Code = 0
	return n
}

// maxCalls is the most calls of one connection.
const maxCalls = 32_702

// maxWhole is the most bytes that a packet's payload has with its metadata.
func (o *Opts) maxWhole() int { return o.MaxMessage + 8<<10 + 3 }

// maxSourced is the same with the sender added.
func (o *Opts) maxSourced() int { return o.maxWhole() + entryRoom + 3 }

// setDefault sets an option that is zero or less.
func setDefault[T int | time.Duration | string](p *T, value T) {
	var zero T
	if *p <= zero {
		*p = value
	}
}

// subject returns the subject of the bus for one within a service, which may have wildcards.
func (o *Opts) subject(service, subject string) string {
	if o.SubjectFormat == DefaultSubjectFormat {
		return service + "." + subject
	}
	return strings.NewReplacer("{service}", service, "{subject}", subject).Replace(o.SubjectFormat)
}
