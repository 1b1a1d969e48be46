package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/service"
)

// An instance that refuses a broadcast doesn't say that nobody has processed it: another one's handler may run.
func TestRefusedBroadcast(t *testing.T) {
	refuse := func(ctx *flyrpc.Context, _ []byte) error { return ctx.Refuse(flyrpc.Errorf(flyrpc.Busy, "not now")) }
	for name, c := range map[string]struct {
		opts  *service.Opts
		first flyrpc.MessageHandler
		code  flyrpc.Code
	}{
		"busy":       {&service.Opts{MaxCalls: 1}, func(ctx *flyrpc.Context, _ []byte) { <-ctx.Done() }, flyrpc.Busy},
		"serializer": {&service.Opts{Serializers: []serializer.Serializer{json.Serializer}}, func([]byte) {}, flyrpc.BadRequest},
		"refused":    {nil, refuse, flyrpc.Busy},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *net) {
				caller := t.service("caller", nil).Service("s")
				t.to(t.service("s", c.opts).Bind("x"), c.first)
				if name == "busy" {
					go func() { _ = caller.Request(t.Context(), "x", []byte{1}).Into(nil) }()
					synctest.Wait()
				}
				ran := make(chan struct{}, 1)
				t.to(t.service("s", nil).Bind("x"), func(ctx *flyrpc.Context, _ []byte) {
					ran <- struct{}{}
					<-ctx.Done() // nobody waits for it
				})
				err := caller.Request(t.Context(), "x", []byte{1}).Into(nil)
				<-ran
				if !errors.Is(err, c.code) || flyrpc.Outcome(err) == flyrpc.NotProcessed {
					t.Errorf("%v, %v, and the other instance's handler runs", err, flyrpc.Outcome(err))
				}
			})
		})
	}
	bubble(t, func(t *net) { // of a queue nobody else has it
		t.to(t.service("s", nil).QueueBind("x"), refuse)
		err := t.service("caller", nil).Service("s").Request(t.Context(), "x", []byte{1}).Into(nil)
		if !errors.Is(err, flyrpc.Busy) || flyrpc.Outcome(err) != flyrpc.NotProcessed {
			t.Errorf("of a queue: %v, %v", err, flyrpc.Outcome(err))
		}
	})
}

// A message to what is no subject fails, as a request does.
func TestSendToNoSubject(t *testing.T) {
	bubble(t, func(t *net) {
		c := t.service("caller", nil).Service("s")
		for _, subject := range []string{"", "a..b", "a b", "a.*", ">"} {
			for _, err := range []error{c.Send(t.Context(), subject, "x"), flyrpc.Caller(c).SendMessage(t.Context(), subject, "x")} {
				if !errors.Is(err, flyrpc.BadRequest) || !errors.Is(err, service.ErrBadSubject) || flyrpc.Outcome(err) != flyrpc.NotSent {
					t.Errorf("%q: %v, %v", subject, err, flyrpc.Outcome(err))
				}
			}
		}
		t.check(c.Send(t.Context(), "/a/*/ü", "a path is escaped"))
	})
}

// A binding with wildcards gets none of FlyRPC's own messages, whose subject it matches.
func TestWildcardsAndGivenUp(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		got := make(chan string, 10)
		for _, pattern := range []string{"*", ">"} {
			t.to(s.QueueBind(pattern), func(ctx *flyrpc.Context) error {
				got <- ctx.Path()
				<-ctx.Done()
				return ctx.Err()
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := t.service("caller", nil).Service("s").Request(ctx, "x", nil).Into(nil)
		time.Sleep(time.Second)
		if st := s.Stats(); !errors.Is(err, flyrpc.Timeout) || st.Malformed != 0 || len(got) != 1 {
			t.Errorf("%v: %d malformed messages, %d handled", err, st.Malformed, len(got))
		}
	})
}

// What was sent as an io.Reader isn't taken for an empty message.
func TestIntoOfReader(t *testing.T) {
	bubble(t, func(t *net) {
		b := t.service("s", nil).QueueBind("x")
		go func() {
			for m := range b.All(t.Context()) {
				var got []byte
				bad := errors.Is(m.Into(&got), flyrpc.BadRequest)
				all, readErr := io.ReadAll(m)
				t.check(m.Reply(fmt.Sprintf("%q %v %q %v", got, bad, all, readErr)))
			}
		}()
		synctest.Wait()
		c := t.service("caller", nil).Service("s")
		for want, v := range map[string]any{
			`"" true "text" <nil>`:      strings.NewReader("text"),
			`"text" false "text" <nil>`: []byte("text"),
			`"" false "" <nil>`:         nil,
		} {
			got, err := flyrpc.Call[string](t.Context(), c, "x", v)
			if err != nil || got != want {
				t.Errorf("%T: %s, %v, not %s", v, got, err, want)
			}
		}
	})
}
