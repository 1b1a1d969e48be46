package flyrpc

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
)

// ReceiveOption is an option of Receive. Resume makes one.
type ReceiveOption[Item any] struct {
	resume func(last Item) (message any)
}

// Resume has Receive go on after the connection was lost: it calls the path anew, with the message that next makes of the last item that was
// yielded, a token or number in it for example, so that the handler sends what comes after it; or with the first message if there was no item. It does so
// if the error is UNAVAILABLE and no answer of the handler, with a Client as its Reconnect says: by the next connection, and Repeats times at most
// without an item in between. Whether an item may come twice, or be missing, is for the handler to decide. next runs on the goroutine that ranges.
func Resume[Item any](next func(last Item) (message any)) ReceiveOption[Item] {
	return ReceiveOption[Item]{resume: next}
}

// Receive calls path with message and yields the items that the handler answers with. A reply
// that isn't empty and comes without items is the only item. An error, which is an Error, comes with the zero
// Item, after all items, and is the last that is yielded. Breaking out of the loop cancels the handler, and
// so does the end of ctx. The call is made anew each time the sequence is ranged over.
//
// If the connection of a Client is lost before the first item, the call is made again as Call would be; for what comes later see Resume.
func Receive[Item any](ctx context.Context, c Caller, path string, message any, opts ...ReceiveOption[Item]) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		r := receiver{ctx: ctx, c: c, path: path, message: message, next: newItem[Item], yield: yielding(yield)}
		for _, o := range opts {
			r.resume = o.fromPointer()
		}
		r.run()
	}
}

// fromPointer returns resume for pointers to items; nil if there is none.
func (o ReceiveOption[Item]) fromPointer() func(any) any {
	if o.resume == nil {
		return nil
	}
	return func(last any) any { return o.resume(*last.(*Item)) }
}

// newItem returns a pointer to decode an item into.
func newItem[Item any]() any { return new(Item) }

// yielding returns yield for pointers to items. nil stands for the zero Item.
func yielding[Item any](yield func(Item, error) bool) func(any, error) bool {
	return func(item any, err error) bool {
		if p, ok := item.(*Item); ok {
			return yield(*p, err)
		}
		var zero Item
		return yield(zero, err)
	}
}

// receiver is one range over what Receive returns. Its items are pointers, of a type that next and yield agree on.
type receiver struct {
	ctx     context.Context
	c       Caller
	path    string
	message any
	resume  func(any) any
	next    func() any
	yield   func(any, error) bool

	any     bool // an item has come
	last    any  // it
	opened  bool // the last call
	fails   int  // losses since
	stopped bool // the loop was left
}

// run receives until the end, an error, or the end of the loop.
func (r *receiver) run() {
	var worst error
	message := r.message
	for {
		err := r.receive(message)
		if err == nil || r.stopped {
			return
		}
		worst = worse(worst, err)
		if r.fails++; !r.mayRepeat(err) {
			r.yield(nil, worst)
			return
		}
		if r.any {
			message = r.resume(r.last)
		}
	}
}

// receive makes the call once and yields what comes. The error is nil at the end.
func (r *receiver) receive(message any) (err error) {
	s, err := openReceive(r.ctx, r.c, r.path, message)
	if r.opened = err == nil; err != nil {
		return err
	}
	defer s.Close()
	receiveItems(s, r.next, func(item any, failed error) bool {
		if failed != nil {
			err = failed
			return false
		}
		r.any, r.last, r.fails = true, item, 0
		r.stopped = !r.yield(item, nil)
		return !r.stopped
	})
	return err
}

// mayRepeat reports whether the call, which was lost with err, may be made again. After a server's refusal it waits a little. What can't be
// opened was tried by the caller as often as that may be.
func (r *receiver) mayRepeat(err error) bool {
	var e *Error
	if !r.opened || !errors.As(err, &e) || e.Code != Unavailable || e.delivery == Answered || r.ctx.Err() != nil || r.fails > repeatsOf(r.c) {
		return false
	}
	if r.resume == nil && (r.any || e.delivery == Unknown && !IsIdempotent(r.ctx)) {
		return false
	}
	return !e.remote || pause(r.ctx, rand.N(DefaultReconnectBackoff), nil)
}

// repeatsOf returns how often a caller may make a call again.
func repeatsOf(c Caller) int {
	switch c := c.(type) {
	case *Conn:
		return 0
	case interface{ repeats() int }:
		return c.repeats()
	}
	return DefaultReconnectRepeats
}

// repeats returns how often a call may be made again.
func (c *Client) repeats() int {
	if c.rec.Mode == ReconnectNever {
		return 0
	}
	return c.rec.Repeats
}

// openReceive opens a stream whose caller sends no items.
func openReceive(ctx context.Context, c Caller, path string, message any) (*Stream, error) {
	if own, ok := c.(interface {
		openStream(ctx context.Context, path string, message any, receives bool) (*Stream, error)
	}); ok {
		return own.openStream(ctx, path, message, true)
	}
	s, err := c.OpenStream(ctx, path, message)
	if err == nil {
		err = s.CloseSend()
	}
	return s, err
}

// receiveItems yields what comes on a stream, each item decoded into what next returns; with an error nil.
func receiveItems(s *Stream, next func() any, yield func(any, error) bool) {
	for {
		item := next()
		switch err := s.Recv(item); {
		case err == io.EOF:
			return
		case err != nil:
			yield(nil, err)
			return
		case !yield(item, nil):
			return
		}
	}
}
