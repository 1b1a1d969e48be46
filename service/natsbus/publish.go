package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-flyrpc/flyrpc/service"
)

// The times of a PublishDurable that isn't answered.
const (
	answerWait = 2 * time.Second        // until it is published again, if it has an id
	storeWait  = 100 * time.Millisecond // until a store is looked for again that has no leader now
)

// maxID is the most bytes that the id of a durable message may have.
const maxID = headerRoom / 2

// PublishDurable is that of service.DurableBus. It tries again while the store's servers choose a new leader, and, if the message has an id, while
// no answer comes, until ctx ends or SendTimeout is over. An id may have 512 bytes.
func (b *Bus) PublishDurable(ctx context.Context, m *service.Message, id string) (duplicate bool, err error) {
	plain := service.Message{Subject: m.Subject, Data: m.Data}
	if err := b.check(&plain); err != nil {
		return false, err
	}
	if len(id) > maxID || strings.ContainsAny(id, "\r\n") {
		return false, fmt.Errorf("natsbus: the id of a message has at most %d bytes and no line breaks, not %q", maxID, id)
	}
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, b.opts.SendTimeout)
		defer cancel()
		ctx = limited
	}
	for {
		duplicate, again, err := b.publishOnce(ctx, &plain, id)
		if !again {
			return duplicate, err
		}
		if ended := sleep(ctx, storeWait); ended != nil {
			return false, fmt.Errorf("%w: %w", ended, err)
		}
	}
}

// publishOnce publishes and waits for the answer. again says that it may be tried again.
func (b *Bus) publishOnce(ctx context.Context, m *service.Message, id string) (duplicate, again bool, err error) {
	msg := &nats.Msg{Subject: m.Subject, Data: m.Data}
	once := ctx
	if id != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {id}}
		limited, cancel := context.WithTimeout(ctx, answerWait)
		defer cancel()
		once = limited
	}
	ack, err := b.js.PublishMsg(once, msg, jetstream.WithRetryAttempts(0))
	switch {
	case err == nil:
		return ack.Duplicate, false, nil
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		// Nobody keeps it, or it has no leader now, or there is no JetStream.
		if _, lost := b.findStore(once, m.Subject); lost != nil && !isPassing(lost) {
			return false, false, lost
		}
		return false, true, fmt.Errorf("natsbus: the store of %q has no leader: %w", m.Subject, err)
	case isFull(err):
		return false, false, fmt.Errorf("%w: %w", service.ErrStoreFull, err)
	}
	return false, id != "" && ctx.Err() == nil && isPassing(err), known(err)
}

// Some of JetStream's error codes.
const (
	codeAccountFull jetstream.ErrorCode = 10002 // the account's limits
	codeDiskFull    jetstream.ErrorCode = 10047 // the server's
	codeNotStored   jetstream.ErrorCode = 10077 // for the reason that its description gives
	codeInProcess   jetstream.ErrorCode = 10158 // a message with the same id is on its way
)

// isFull reports whether an error is that a store has no room.
func isFull(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	return api.ErrorCode == codeAccountFull || api.ErrorCode == codeDiskFull ||
		api.ErrorCode == codeNotStored && strings.Contains(api.Description, "maximum")
}

// isPassing reports whether trying again may end otherwise: nothing was answered, or that the servers can't do it now.
func isPassing(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == statusUnavailable || api.ErrorCode == codeInProcess
	}
	for _, passing := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrReconnectBufExceeded,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// statusUnavailable is the status that JetStream's servers answer with while they can't.
const statusUnavailable = 503

// sleep waits. The error is that of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
