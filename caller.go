package flyrpc

import (
	"context"
	"io"
	"iter"
)

// Caller is what Client and Conn have in common, for code that works with either.
type Caller interface {
	// Call calls path with message and decodes the answer into reply.
	Call(ctx context.Context, path string, message, reply any) error
	// SendMessage sends a one-way message to path.
	SendMessage(ctx context.Context, path string, message any) error
	// OpenStream calls path with message and returns the Stream of items.
	OpenStream(ctx context.Context, path string, message any) (*Stream, error)
}

// Call calls path with message and returns the answer, decoded as a Reply. With an
// error, which is an Error, the Reply is its zero value.
func Call[Reply any](ctx context.Context, c Caller, path string, message any) (Reply, error) {
	reply := new(Reply)
	if err := c.Call(ctx, path, message, reply); err != nil {
		var zero Reply
		return zero, err
	}
	return *reply, nil
}

// Upload calls path with message, sends items until there are no more or the handler has
// returned, and returns its reply. The error is an Error. Items are taken from the sequence while they can be sent; the
// end of ctx ends that after the next one.
func Upload[Reply, Item any](ctx context.Context, c Caller, path string, message any, items iter.Seq[Item]) (Reply, error) {
	reply := new(Reply)
	if err := uploadInto(ctx, c, path, message, items, reply); err != nil {
		var zero Reply
		return zero, err
	}
	return *reply, nil
}

// uploadInto is Upload with a reply of any type: a pointer, or nil to drop it.
func uploadInto[Item any](ctx context.Context, c Caller, path string, message any, items iter.Seq[Item], reply any) error {
	s, err := c.OpenStream(ctx, path, message)
	if err != nil {
		return err
	}
	defer s.Close()
	s.wantReply()
	if err := sendItems(s, items); err != nil {
		return err
	}
	return s.reply(reply)
}

// sendItems sends items until there are no more or the call has ended. The error is why one can't be sent.
func sendItems[Item any](s *Stream, items iter.Seq[Item]) error {
	for item := range items {
		if err := s.Send(item); err == io.EOF {
			return nil
		} else if err != nil {
			return begun(err)
		}
	}
	return s.CloseSend()
}

// begun marks an error of Send as that of a call whose request was sent.
func begun(err error) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	unknown := *e
	unknown.delivery = Unknown
	return &unknown
}

// Exchange calls path with message, sends items of type In and yields those of type Out that the handler
// answers with, both at the same time: items is ranged over on a goroutine of its own, which ends when items
// does, or with the first item that can't be sent because the call has ended. For errors and the end see Receive.
func Exchange[In, Out any](ctx context.Context, c Caller, path string, message any, items iter.Seq[In]) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		exchange(ctx, c, path, message, items, newItem[Out], yielding(yield))
	}
}

// exchange is a range over what Exchange returns, for items of any type: see receiveItems.
func exchange[In any](ctx context.Context, c Caller, path string, message any, items iter.Seq[In], next func() any, yield func(any, error) bool) {
	s, err := c.OpenStream(ctx, path, message)
	if err != nil {
		yield(nil, err)
		return
	}
	defer s.Close()
	var failed error
	sent := make(chan struct{})
	go func() {
		failed = sendItems(s, items)
		close(sent) // before whoever receives is told that the stream was closed
		if failed != nil {
			s.Close()
		}
	}()
	receiveItems(s, next, func(item any, err error) bool {
		if err != nil {
			select { // why the stream was closed, if that is why
			case <-sent:
				if failed != nil {
					err = failed
				}
			default:
			}
		}
		return yield(item, err)
	})
}
