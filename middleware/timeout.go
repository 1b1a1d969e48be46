package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// Timeout returns a Middleware that gives handlers d at most, counted from when it is called; what is left of the caller's own
// deadline counts if it is shorter. When d has passed the handler's Context ends and the caller is answered TIMEOUT at once, whether the
// handler has noticed or not; what it returns later is dropped. It still counts as being handled until it returns. A stream's whole time
// counts, and a one-way message's handler is only cancelled. Timeout panics if d isn't positive.
func Timeout(d time.Duration) flyrpc.Middleware {
	if d <= 0 {
		panic("middleware: Timeout: " + d.String() + " is no time for a handler")
	}
	late := flyrpc.Errorf(flyrpc.Timeout, "the handler took longer than the %v it has", d)
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (reply any, err error) {
			c, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			answered, done := false, make(chan struct{})
			stop := context.AfterFunc(c, func() {
				defer close(done)
				if expired(ctx, c) {
					answered = ctx.Reply(late.Code, []byte(late.Message)) == nil
				}
			})
			defer func() {
				if !stop() {
					<-done
				}
				if answered || expired(ctx, c) && errors.Is(err, context.DeadlineExceeded) {
					own := *late // whoever has it may change it
					reply, err = nil, &own
				}
			}()
			return next(ctx.WithContext(c))
		}
	}
}

// expired reports whether c, which is ctx with a deadline, has reached it, and ctx has not ended itself.
func expired(ctx, c context.Context) bool {
	return errors.Is(c.Err(), context.DeadlineExceeded) && ctx.Err() == nil
}
