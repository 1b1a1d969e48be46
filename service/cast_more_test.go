package service_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// drain is a handler that reads all.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// What the handlers of a cast return is dropped, as that of a message is: answers of any kind, and their metadata.
func TestCastAnswers(t *testing.T) {
	for name, h := range map[string]flyrpc.MessageHandler{
		"echo":   func(r io.Reader) (io.Reader, error) { return r, nil },
		"reader": func(r io.Reader) (io.Reader, error) { return pattern(5 << 20), drain(r) },
		"bytes":  func(r io.Reader) ([]byte, error) { return make([]byte, 3<<20), drain(r) },
		"items": func(r io.Reader) (iter.Seq2[*user, error], error) {
			return func(yield func(*user, error) bool) {
				for i := 0; i < 10_000 && yield(&user{i, "x"}, nil); i++ {
					continue
				}
			}, drain(r)
		},
		"metadata": func(ctx *flyrpc.Context, r io.Reader) (*user, error) {
			return &user{}, errors.Join(ctx.SetMeta("who", "me"), drain(r))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *net) {
				for range 4 {
					t.to(t.service("s", nil).Bind("file"), h)
				}
				synctest.Wait()
				var meta flyrpc.Metadata
				ctx, cancel := context.WithTimeout(flyrpc.WithReplyMeta(t.Context(), &meta), time.Minute)
				defer cancel()
				t.check(t.service("caller", nil).Service("s").Send(ctx, "file", pattern(1<<20)))
				if meta != nil {
					t.Errorf("metadata of an answer: %v", meta)
				}
			})
		})
	}
}

// Send never says that nothing was processed when some handler has begun.
func TestCastOutcome(t *testing.T) {
	bubble(t, func(t *net) {
		check := func(err error, code flyrpc.Code) {
			t.Helper()
			if !errors.Is(err, code) || flyrpc.Outcome(err) != flyrpc.Unknown {
				t.Errorf("%v, %v", err, flyrpc.Outcome(err))
			}
		}
		all := t.takers(2, nil)
		gate := make(chan struct{})
		t.to(t.service("s", &service.Opts{MaxCalls: 1}).QueueBind("*"), func(io.Reader) { <-gate })
		synctest.Wait()
		caller := t.service("caller", nil)
		c := caller.Service("s")
		go func() { _ = c.Request(t.Context(), "other", nil).Into(nil) }()
		synctest.Wait()
		check(c.Send(t.Context(), "file", pattern(100)), flyrpc.Busy) // one of three refuses it
		close(gate)
		all.check(t, 2, 100)

		reader, w := io.Pipe()
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), "file", reader) }()
		_, err := w.Write([]byte("begun"))
		t.check(err)
		synctest.Wait()
		caller.Close()
		w.Close()
		check(<-sent, flyrpc.Unavailable)
	})
}

// An instance isn't given up for its slowness when all was read: the others wait for nothing then.
func TestCastPatience(t *testing.T) {
	bubble(t, func(t *net) {
		all := t.takers(2, nil)
		s := t.service("s", nil)
		t.to(s.Bind("file"), func(r io.Reader) error {
			time.Sleep(time.Minute)
			return all.take(s.ID(), r)
		})
		synctest.Wait()
		t.check(t.service("caller", nil).Service("s").Send(t.Context(), "file", pattern(400<<10)))
		all.check(t, 3, 400<<10)
	})
}

// readFunc is a reader.
type readFunc func(b []byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// A reader is read no further than to its end, or that of the context, whatever it returns.
func TestCastReaders(t *testing.T) {
	bubble(t, func(t *net) {
		all := t.takers(1, nil)
		c := t.service("caller", nil).Service("s")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := c.Send(ctx, "file", readFunc(func([]byte) (int, error) { panic("it is read") }))
		if !errors.Is(err, flyrpc.Canceled) || flyrpc.Outcome(err) != flyrpc.NotSent {
			t.Errorf("a context that has ended: %v, %v", err, flyrpc.Outcome(err))
		}
		ctx, cancel = context.WithCancel(t.Context())
		reads := 0
		err = c.Send(ctx, "file", readFunc(func([]byte) (int, error) {
			if reads++; reads == 50 {
				cancel()
			}
			time.Sleep(time.Millisecond)
			return 1, nil
		}))
		if !errors.Is(err, context.Canceled) || reads != 50 {
			t.Errorf("%v after %d reads", err, reads)
		}
		synctest.Wait()
		clear(all.took)
		r, reads := pattern(100<<10), 0
		t.check(c.Send(t.Context(), "file", readFunc(func(b []byte) (int, error) {
			if reads++; reads%2 == 0 {
				return 0, nil
			}
			n, _ := r.Read(b[:1000])
			if reads > 2*102 {
				return n, io.EOF
			}
			return n, nil
		})))
		all.check(t, 1, 100<<10)
		func() {
			defer func() {
				if recover() != "the reader's own" {
					t.Error("a reader's panic is lost")
				}
			}()
			_ = c.Send(t.Context(), "file", readFunc(func([]byte) (int, error) { panic("the reader's own") }))
		}()
	})
}

// What the bus delivers twice of what begins a cast is taken once.
func TestCastTwice(t *testing.T) {
	bubble(t, func(t *net) {
		all := t.takers(2, nil)
		caller, calling := t.spoiled("caller", nil)
		calling.set(func(m service.Message) *service.Message {
			if k := m.Data[6]; k == service.KindInvite || k == service.KindCast {
				t.check(calling.Bus.Publish(&m))
			}
			return &m
		})
		reader, w := io.Pipe()
		go func() {
			synctest.Wait()
			_, err := io.Copy(w, pattern(1<<20))
			w.CloseWithError(err)
		}()
		defer reader.Close()
		t.check(caller.Service("s").Send(t.Context(), "file", reader))
		all.check(t, 2, 1<<20)
	})
}

// The last frame that goes one way is found out to be lost, too, though nothing follows it: that of the items' end, and credit.
func TestLostLast(t *testing.T) {
	bubble(t, func(t *net) {
		s, serving := t.spoiled("s", nil)
		t.to(s.Bind("file"), drain)
		caller, calling := t.spoiled("caller", nil)
		c := caller.Service("s")
		losing := func(end string) func(m service.Message) *service.Message {
			var lost atomic.Bool
			return func(m service.Message) *service.Message {
				if bytes.Contains(m.Data[max(0, len(m.Data)-12):], []byte(end)) && lost.CompareAndSwap(false, true) {
					return nil
				}
				return &m
			}
		}
		check := func(what string, send func(ctx context.Context) error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			begun := time.Now()
			err := send(ctx)
			if took := time.Since(begun); !errors.Is(err, flyrpc.Unavailable) || !strings.Contains(err.Error(), "lost") || took > 2*service.DefaultProbeTime+time.Second {
				t.Errorf("%s: %v after %v", what, err, took)
			}
		}
		for what, send := range map[string]func(ctx context.Context) error{
			"a cast":    func(ctx context.Context) error { return c.Send(ctx, "file", pattern(1<<20)) },
			"a request": func(ctx context.Context) error { return c.Request(ctx, "file", pattern(1<<20)).Into(nil) },
		} {
			calling.set(losing("e\x00\x00"))
			check(what+" without its end", send)
			calling.set(nil)
			serving.set(losing("w\x00\x03"))
			check(what+" without credit", send)
			serving.set(nil)
		}
	})
}

// forged returns a frame that anybody may have made.
func forged(k byte, sender uint64, call, body []byte) []byte {
	b := make([]byte, service.HeaderLen, service.HeaderLen+len(body))
	b[0], b[1], b[6] = 0xf1, 1, k
	binary.BigEndian.PutUint64(b[7:], sender)
	copy(b[15:23], call)
	return service.Seal(append(b, body...))
}

// Those who say yes and aren't there, or are others, and thousands of invitations, do no harm but to who has them.
func TestCastForged(t *testing.T) {
	bubble(t, func(t *net) {
		all := t.takers(1, nil)
		t.to(t.service("victim", nil).Bind("x"), func(io.Reader) { t.Error("another service's handler has it") })
		caller, calling := t.spoiled("caller", nil)
		var invite service.Message
		calling.set(func(m service.Message) *service.Message {
			if m.Data[6] == service.KindInvite {
				invite = m
			}
			return &m
		})
		reader, w := io.Pipe()
		c, sent := caller.Service("s"), make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), "file", reader) }()
		synctest.Wait()
		call := invite.Data[15:23]
		for i := range uint64(300) {
			reply := []string{"victim.x", "nobody.x", "victim._FLY", invite.Reply, "s.file", ""}[i%6]
			t.check(t.bus.Publish(&service.Message{Subject: invite.Reply, Reply: reply, Data: forged(service.KindReady, i+1, call, nil)}))
		}
		for k := range byte(14) {
			t.check(t.bus.Publish(&service.Message{Subject: invite.Reply, Data: forged(k, 500, call, nil)}))
		}
		go func() {
			_, err := io.Copy(w, pattern(2<<20))
			w.CloseWithError(err)
		}()
		if err := <-sent; !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("members that aren't there: %v", err)
		}
		all.check(t, 1, 2<<20)

		for i := range uint64(1100) {
			t.check(t.bus.Publish(&service.Message{Subject: "s.file", Reply: "nobody.x", Data: forged(service.KindInvite, i+1, call, invite.Data[service.HeaderLen:])}))
		}
		synctest.Wait()
		if err := c.Send(t.Context(), "file", pattern(10)); !errors.Is(err, flyrpc.Busy) || flyrpc.Outcome(err) != flyrpc.NotProcessed {
			t.Errorf("too many invitations: %v, %v", err, flyrpc.Outcome(err))
		}
		time.Sleep(service.DefaultSendTimeout)
		clear(all.took)
		t.check(c.Send(t.Context(), "file", pattern(10)))
		all.check(t, 1, 10)
	})
}
