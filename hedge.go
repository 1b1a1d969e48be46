package flyrpc

import (
	"context"
	"reflect"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

// hedges reports whether a call is made by a second connection too when its answer takes long.
func (c *Client) hedges(ctx context.Context, call *Outgoing) bool {
	return c.set != nil && c.opts.Balance.Hedge > 0 && IsIdempotent(ctx) && !call.readers()
}

// try is one of the two attempts of a hedged call.
type try struct {
	*Pending
	conn   *Conn
	t      *balance.Target
	cancel context.CancelFunc
	reply  reflect.Value // a pointer; not valid if no reply is wanted
	meta   Metadata
}

// callHedged makes a call by conn, and by another connection as well if that takes long.
func (c *Client) callHedged(ctx context.Context, conn *Conn, t *balance.Target, path string, message, reply any) error {
	begin := func(conn *Conn, t *balance.Target) *try { return c.try(ctx, conn, t, path, message, reply) }
	won := begin(conn, t)
	defer won.cancel()
	if !won.within(c.opts.Balance.Hedge) {
		if conn, t, _ := c.pick(ctx, t); conn != nil {
			second := begin(conn, t)
			defer second.cancel()
			won = firstOf(won, second)
		}
	}
	err := won.Err()
	if v := ctx.Value(outgoingKey).(*outgoingValues); v.reply != nil && won.isAnswered() {
		*v.reply = won.meta
	}
	if err != nil {
		return c.persist(ctx, c.callErrand(ctx, path, message, reply), won.conn, won.t, err)
	}
	if won.reply.IsValid() {
		reflect.ValueOf(reply).Elem().Set(won.reply.Elem())
	}
	return nil
}

// try begins an attempt, whose reply and metadata are its own.
func (c *Client) try(ctx context.Context, conn *Conn, t *balance.Target, path string, message, reply any) *try {
	a := &try{Pending: &Pending{done: make(chan struct{})}, conn: conn, t: t}
	own := reply
	if v := reflect.ValueOf(reply); v.Kind() == reflect.Pointer && !v.IsNil() {
		a.reply = reflect.New(v.Type().Elem())
		own = a.reply.Interface()
	}
	ctx, a.cancel = context.WithCancel(WithReplyMeta(ctx, &a.meta))
	c.ep.workers.Go(pendingTask{a.Pending, func() error { return c.callBy(ctx, conn, t, path, message, own) }}, nil)
	return a
}

// within reports whether the attempt ends within d.
func (a *try) within(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.done:
		return true
	case <-timer.C:
		return false
	}
}

// isAnswered reports whether the attempt, which has ended, has got an answer.
func (a *try) isAnswered() bool { return Outcome(a.err) == Answered }

// firstOf returns the first of two attempts that is answered, or one that failed if none is, with the worse outcome of both. The message and
// both replies are the caller's again then.
func firstOf(a, b *try) *try {
	select {
	case <-a.done:
	case <-b.done:
		a, b = b, a
	}
	if !a.isAnswered() {
		if <-b.done; !b.isAnswered() {
			a.err = worse(b.err, a.err)
			return a
		}
		a, b = b, a
	}
	b.cancel()
	<-b.done
	return a
}
