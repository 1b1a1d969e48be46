package middleware

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// The defaults of RetryOptions.
const (
	DefaultAttempts = 3
	DefaultBackoff  = 100 * time.Millisecond
	DefaultMaxPause = 5 * time.Second
)

// RetryOptions are the options of Retry. nil and the zero value mean the defaults.
type RetryOptions struct {
	// Attempts is how often a call is made at most, the first time included. Default: DefaultAttempts.
	Attempts int
	// Backoff is the longest pause before the second attempt; it doubles with each one more. Every pause is a
	// random part of it, from nothing on, so that callers that failed together don't come back together. Default: DefaultBackoff.
	Backoff time.Duration
	// MaxPause is the longest pause there is. Default: DefaultMaxPause.
	MaxPause time.Duration
	// Idempotent says that calls of a path may be repeated when it is unknown whether they were executed; so may all whose
	// context is of flyrpc.WithIdempotent. It may be called concurrently. Default: none.
	Idempotent func(path string) bool
	// Worth says whether another attempt could end better, for a call that may be repeated. It may be called concurrently. Default: all
	// but BAD_REQUEST, NOT_FOUND, BUFF_TOO_LONG, UNAUTHENTICATED and FORBIDDEN, which come again.
	Worth func(err error) bool
}

// Retry returns an Interceptor that repeats calls and messages that fail, if that is safe, as flyrpc.Outcome tells: those
// that were not sent or not processed, and idempotent ones of which it is unknown. What was answered is never repeated. It
// returns the error of the last attempt. It makes none after ctx has ended, and doesn't wait if the pause would last beyond its deadline.
//
// A message that is an io.Reader is sent again only if nobody has begun to read it. A stream is opened again
// if its request was not sent or not processed to its end; once it is open it isn't repeated, whatever comes of it, and
// neither is a call whose reply is an io.Reader that has begun to come.
//
// Interceptors inside of Retry see every attempt; what they change in the call is undone before the next one.
func Retry(opts *RetryOptions) flyrpc.Interceptor {
	var o RetryOptions
	if opts != nil {
		o = *opts
	}
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Backoff <= 0 {
		o.Backoff = DefaultBackoff
	}
	if o.MaxPause <= 0 {
		o.MaxPause = DefaultMaxPause
	}
	if o.Worth == nil {
		o.Worth = worthAnother
	}
	return func(next flyrpc.Invoker) flyrpc.Invoker {
		return func(ctx context.Context, call *flyrpc.Outgoing) error { return o.run(ctx, call, next) }
	}
}

// run makes a call until it has succeeded or can't be repeated.
func (o *RetryOptions) run(ctx context.Context, call *flyrpc.Outgoing, next flyrpc.Invoker) error {
	conn, path, message, reply := call.Conn, call.Path, call.Message, call.Reply
	src, reads := message.(io.Reader)
	reads = reads && !call.OneWay && !call.Streams
	if reads {
		defer func() { call.Message = message }()
	}
	longest := min(o.Backoff, o.MaxPause)
	for n := 1; ; n++ {
		var once *onceReader
		if reads {
			once = &onceReader{src: src}
			call.Message = once
		}
		err := next(ctx, call)
		if err == nil || n == o.Attempts || !o.mayRepeat(ctx, call, path, err) || once != nil && !once.withdraw() {
			return err
		}
		if !pause(ctx, rand.N(longest)) {
			return err
		}
		longest += min(longest, o.MaxPause-longest)
		call.Conn, call.Path, call.Message, call.Reply = conn, path, message, reply
	}
}

// mayRepeat reports whether a call that failed may be repeated and that is worth it.
func (o *RetryOptions) mayRepeat(ctx context.Context, call *flyrpc.Outgoing, path string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	switch flyrpc.Outcome(err) {
	case flyrpc.NotSent, flyrpc.NotProcessed:
	case flyrpc.Unknown:
		if call.Streams || !flyrpc.IsIdempotent(ctx) && (o.Idempotent == nil || !o.Idempotent(path)) {
			return false
		}
	default:
		return false
	}
	return o.Worth(err)
}

// worthAnother is the default of RetryOptions.Worth.
func worthAnother(err error) bool {
	for _, code := range [...]flyrpc.Code{flyrpc.BadRequest, flyrpc.NotFound, flyrpc.TooLong, flyrpc.Unauthenticated, flyrpc.Forbidden} {
		if errors.Is(err, code) {
			return false
		}
	}
	return true
}

// pause waits for d. It returns false, at once, if ctx has ended or its deadline comes before d has passed.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// onceReader is the message of one attempt. Either it is read, or withdrawn and left to the next attempt: what is left of this
// one, which may go on behind its back, reads nothing then.
type onceReader struct {
	src   io.Reader
	state atomic.Int32
}

// The states of a onceReader.
const (
	untouched int32 = iota
	begun
	withdrawn
)

// errWithdrawn is what an attempt reads that was given up.
var errWithdrawn = errors.New("middleware: the attempt that reads this message was given up")

// Read reads from the message.
func (r *onceReader) Read(p []byte) (int, error) {
	if r.state.CompareAndSwap(untouched, begun) || r.state.Load() == begun {
		return r.src.Read(p)
	}
	return 0, errWithdrawn
}

// withdraw reports whether the message may be given to another attempt.
func (r *onceReader) withdraw() bool { return r.state.CompareAndSwap(untouched, withdrawn) }
