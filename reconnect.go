package flyrpc

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/go-flyrpc/flyrpc/transport"
)

// ReconnectMode says when a client connects again after its connection was lost or the server has said bye.
type ReconnectMode int

const (
	// ReconnectOnUse is the default: the next call, message, stream or ping dials, once, and fails as the dialling does. The client
	// does nothing in between, so one that isn't used needs no Close, and isn't called by its server meanwhile.
	ReconnectOnUse ReconnectMode = iota
	// ReconnectAlways connects in the background, from Connect or the first use until Close, with a pause after each attempt that
	// failed. Calls and messages wait meanwhile. A client with several addresses, with Balance.ConnsPerAddr above 1, or with a
	// Resolver always does that.
	ReconnectAlways
	// ReconnectNever leaves it to the program: the client dials in Connect, and for its first use. Nothing is repeated.
	ReconnectNever
)

// The defaults of Reconnect.
const (
	DefaultReconnectBackoff  = 100 * time.Millisecond
	DefaultReconnectMaxPause = 10 * time.Second
	DefaultReconnectTimeout  = 10 * time.Second
	DefaultReconnectRepeats  = 16
	DefaultQueueBytes        = 4 << 20 // bytes
	DefaultQueueAge          = 30 * time.Second
)

// Reconnect says what a client does about connections that are lost. The zero value means the defaults.
//
// What was in flight when a connection was lost ends at once, and Outcome tells how far it had come. The Client, other than a Conn,
// then makes it again by another connection, if it fails with UNAVAILABLE because of the connection and was not sent or not processed, or if it is a
// call of a context of WithIdempotent and it is unknown whether it was executed. What is made again keeps its context, is repeated Repeats times at
// most, and ends with the Outcome of the worst attempt. A call whose message or reply is an io.Reader isn't made again, and a stream isn't once it is
// open; for that see Resume. Interceptors see every attempt. What a call carries must stay as it is until the call has ended.
type Reconnect struct {
	// Mode is when the client connects again. Default: ReconnectOnUse. A client of NewClientConn that has no DialFunc never does.
	Mode ReconnectMode
	// Backoff is the longest pause after the first of several failed attempts; it doubles with each one more. Every pause is a random part of
	// it, from nothing on, so that clients that lost the same server don't come back together. A connection that ends within MaxPause counts
	// as a failed attempt here; after one that lasted longer the first attempt is made at once. Default 100 ms.
	Backoff time.Duration
	// MaxPause is the longest pause there is. Default 10 s, or Backoff if that is longer.
	MaxPause time.Duration
	// Timeout bounds one attempt in the background: dialling, the handshake, and OnReconnect, which it bounds in the other modes too. Default 10 s.
	Timeout time.Duration
	// Attempts is how many attempts in a row may fail before the client gives an address up: what waits fails then with the last one's error, and
	// the next use begins anew. One of several addresses is tried again when none of the others has a connection either, or with Connect. Default 0: any number.
	Attempts int
	// Repeats is how often one call is made again at most. Default 16; negative means never.
	Repeats int
	// FailFast has calls and messages fail at once, with UNAVAILABLE and NotSent, while ReconnectAlways has no connection. Default: they wait,
	// in the order in which they came, and their callers with them: so whatever is given up while it waits is reported as the error of
	// that Call or SendMessage. They wait on when a server can't be reached or is busy, and fail when all refuse the client for another reason, or when
	// the addresses are wrong in themselves.
	FailFast bool
	// QueueBytes is how many bytes of calls and messages may wait so, as they are encoded. One that is more fails with BUSY, NotSent, unless
	// nothing else waits. Default 4 MiB.
	QueueBytes int
	// QueueAge is how long each of them may wait, if its context lasts as long, before it fails with UNAVAILABLE, NotSent. Default 30 s.
	QueueAge time.Duration
	// OnReconnect is called for each new connection, the first one too, before any other call goes by it: here a client subscribes again.
	// It has to use conn, since the client waits for it. conn already serves the calls of the server. With an
	// error, which the attempt fails with, conn is closed. It may run for several connections at once. ctx ends after Timeout, and with Close.
	OnReconnect func(ctx context.Context, conn *Conn) error
	// OnStateChange is told each State that the client gets to, with the error that led there, or nil: why the connection was lost, or why
	// the last attempt failed. It is called in order and never twice at once, on a goroutine of its own; if it falls behind by more than 64 changes it misses the
	// oldest. It may use the client.
	OnStateChange func(state State, err error)
}

// withDefaults returns r with its zeros replaced.
func (r Reconnect) withDefaults() Reconnect {
	setDefault(&r.Backoff, DefaultReconnectBackoff)
	setDefault(&r.MaxPause, DefaultReconnectMaxPause)
	setDefault(&r.Timeout, DefaultReconnectTimeout)
	setDefault(&r.QueueBytes, DefaultQueueBytes)
	setDefault(&r.QueueAge, DefaultQueueAge)
	for _, d := range []*time.Duration{&r.Backoff, &r.MaxPause, &r.Timeout, &r.QueueAge} {
		*d = min(*d, forEver)
	}
	r.MaxPause = max(r.MaxPause, r.Backoff)
	if r.Repeats == 0 {
		r.Repeats = DefaultReconnectRepeats
	}
	r.Attempts = max(r.Attempts, 0)
	return r
}

// pauses are those between attempts, each random between 0 and twice what the library calls the interval.
type pauses struct{ backoff.ExponentialBackOff }

// pauses returns the pauses from the shortest on.
func (r *Reconnect) pauses() *pauses {
	return &pauses{backoff.ExponentialBackOff{
		InitialInterval: r.Backoff / 2, MaxInterval: r.MaxPause / 2, Multiplier: 2, RandomizationFactor: 1,
	}}
}

// pause waits for d, or until wake is sent to. It returns false if ctx ends before.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil
}

// mayPass reports whether what an attempt to connect failed with may be over at the next one without anybody doing
// anything about it.
func mayPass(err error) bool {
	var wrong *transport.AddrError
	if errors.As(err, &wrong) {
		return false
	}
	e, ok := err.(*Error)
	return ok && (e.Code == Unavailable || e.Code == Timeout || e.Code == Busy)
}
