package middleware

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/go-flyrpc/flyrpc"
)

// The defaults of BreakerOptions.
const (
	DefaultFailures     = 5
	DefaultBreakerPause = 10 * time.Second
	DefaultProbes       = 1
)

// BreakerOptions are the options of Breaker. nil and the zero value mean the defaults.
type BreakerOptions struct {
	// Failures is how many calls have to fail in a row for the breaker to open. Default: DefaultFailures.
	Failures int
	// Pause is how long it is open. Default: DefaultBreakerPause.
	Pause time.Duration
	// Probes is how many calls are let through at once then, and have to succeed for it to close. Default: DefaultProbes.
	Probes int
	// Codes are those that count as failures. Default: UNAVAILABLE, TIMEOUT, BUSY and INTERNAL.
	Codes []flyrpc.Code
	// OnChange is told when the breaker goes from one state to another, which are "closed", "half-open" and "open". It must return
	// soon and not use the client: calls wait for it. Default: nil.
	OnChange func(from, to string)
}

// Breaker returns an Interceptor that spares a server that fails: when so many calls in a row have failed it opens, and calls and
// messages fail at once with UNAVAILABLE, NotSent. After a pause it lets a few through to see: if they succeed it closes, and if
// one fails it is open again.
//
// Which errors are failures is decided by their codes: those of BreakerOptions.Codes. Every other error is an answer of a server that
// works, NOT_FOUND for example, and counts as success, but for CANCELED and errors that have no code, which don't count. Neither do calls whose
// context has ended before, nor those that failed in another way before they were sent, as one whose message can't be encoded. Of a stream only
// its opening counts.
//
// One breaker is for one server: clients of the same one may share it, those of others must not.
func Breaker(opts *BreakerOptions) flyrpc.Interceptor {
	var o BreakerOptions
	if opts != nil {
		o = *opts
	}
	b := &breaker{codes: slices.Clone(o.Codes)}
	if len(b.codes) == 0 {
		b.codes = []flyrpc.Code{flyrpc.Unavailable, flyrpc.Timeout, flyrpc.Busy, flyrpc.Internal}
	}
	if o.Failures <= 0 {
		o.Failures = DefaultFailures
	}
	if o.Pause <= 0 {
		o.Pause = DefaultBreakerPause
	}
	if o.Probes <= 0 {
		o.Probes = DefaultProbes
	}
	settings := gobreaker.Settings{
		MaxRequests:  uint32(min(o.Probes, math.MaxInt32)),
		Timeout:      o.Pause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return int64(c.ConsecutiveFailures) >= int64(o.Failures) },
		IsSuccessful: func(err error) bool { return !b.fails(err) },
		IsExcluded:   b.excludes,
	}
	if o.OnChange != nil {
		settings.OnStateChange = func(_ string, from, to gobreaker.State) { o.OnChange(from.String(), to.String()) }
	}
	b.state = gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)
	return b.intercept
}

// breaker is what Breaker has made of its options.
type breaker struct {
	codes []flyrpc.Code
	state *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// errEnded stands for a call that ended without an error: with a panic, or the end of the goroutine.
var errEnded = errors.New("middleware: the call's goroutine ended")

// intercept is the Interceptor.
func (b *breaker) intercept(next flyrpc.Invoker) flyrpc.Invoker {
	return func(ctx context.Context, call *flyrpc.Outgoing) error {
		if ctx.Err() != nil {
			return next(ctx, call)
		}
		done, err := b.state.Allow()
		if err != nil {
			return flyrpc.Errorf(flyrpc.Unavailable, "too many calls have failed: %w", err).WithDelivery(flyrpc.NotSent)
		}
		result := errEnded // nothing is known of the server
		defer func() { done(result) }()
		result = next(ctx, call)
		return result
	}
}

// fails reports whether an error counts as a failure.
func (b *breaker) fails(err error) bool {
	return slices.ContainsFunc(b.codes, func(code flyrpc.Code) bool { return errors.Is(err, code) })
}

// excludes reports whether an error says nothing about the server.
func (b *breaker) excludes(err error) bool {
	if err == nil || b.fails(err) {
		return false
	}
	var e *flyrpc.Error
	var code flyrpc.Code
	return flyrpc.Outcome(err) == flyrpc.NotSent || errors.Is(err, flyrpc.Canceled) || !errors.As(err, &e) && !errors.As(err, &code)
}
