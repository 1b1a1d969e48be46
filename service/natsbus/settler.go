package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// errSettled is what a settler returns that is too late.
var errSettled = errors.New("natsbus: the message was settled before, its time to be was over, or its consumer was closed")

// settler is a service.Settler.
type settler struct {
	from *consumer
	msg  jetstream.Msg

	timer   *time.Timer // ends it when the broker delivers the message again; under the consumer's lock
	settled atomic.Bool
}

// Ack is that of service.Settler. It asks again while the broker doesn't answer.
func (d *settler) Ack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.from.bus.opts.SendTimeout)
	defer cancel()
	return d.settle(func() error {
		for {
			once, cancel := context.WithTimeout(ctx, answerWait)
			err := d.msg.DoubleAck(once)
			cancel()
			if err == nil || !isPassing(err) || sleep(ctx, storeWait) != nil {
				return err
			}
		}
	})
}

// Retry is that of service.Settler.
func (d *settler) Retry(delay time.Duration) error {
	return d.settle(func() error { return d.msg.NakWithDelay(delay) })
}

// Working is that of service.Settler.
func (d *settler) Working() error {
	if d.settled.Load() {
		return errSettled
	}
	d.from.mu.Lock()
	d.timer.Reset(d.from.wait)
	d.from.mu.Unlock()
	return told(d.msg.InProgress())
}

// giveBack has the message delivered again.
func (d *settler) giveBack() error { return d.settle(d.msg.Nak) }

// expire frees the slot of a message that the broker now delivers again by itself.
func (d *settler) expire() { _ = d.settle(func() error { return nil }) }

// settle tells the broker, once, and frees the slot.
func (d *settler) settle(tell func() error) error {
	if !d.settled.CompareAndSwap(false, true) {
		return errSettled
	}
	s := d.from
	s.mu.Lock()
	d.timer.Stop()
	delete(s.settlers, d)
	s.mu.Unlock()
	err := tell()
	<-s.slots
	return told(err)
}

// told is why the broker couldn't be told how a message has ended.
func told(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("natsbus: the broker isn't told how a durable message has ended, and will deliver it again: %w", err)
}
