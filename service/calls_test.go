package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// bubble runs a test in which time takes no time. The services it makes are closed before it ends.
func bubble(t *testing.T, f func(n *net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &net{T: t, bus: membus.New(nil)}
		defer func() { // also when the test fails
			for _, s := range n.services {
				s.Close()
			}
			n.bus.Close()
			synctest.Wait()
		}()
		f(n)
	})
}

// net is a bus and the services on it.
type net struct {
	*testing.T
	bus      *membus.Bus
	services []*service.Service
}

// service returns an instance of a service on an end of its own.
func (n *net) service(name string, opts *service.Opts) *service.Service {
	s := service.New(name, n.bus.Join(), opts)
	n.services = append(n.services, s)
	return s
}

// to binds, or fails the test.
func (n *net) to(b *service.Binding, h flyrpc.MessageHandler) *service.Binding {
	n.Helper()
	if err := b.To(h); err != nil {
		n.Fatal(err)
	}
	return b
}

// check fails the test for an error.
func (n *net) check(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

type lookup struct{ ID int }

type user struct {
	ID   int
	Name string
}

func TestRequest(t *testing.T) {
	bubble(t, func(t *net) {
		t.to(t.service("users", nil).QueueBind("user.get"), func(ctx *flyrpc.Context, q *lookup) (*user, error) {
			if q.ID == 0 {
				return nil, flyrpc.Errorf(flyrpc.NotFound, "nobody").WithDetails(user{Name: "nobody"})
			}
			if err := ctx.SetMeta("who", ctx.Meta().Get("who")+"!"); err != nil {
				return nil, err
			}
			return &user{q.ID, "Ada"}, nil
		})
		c := t.service("web", nil).Service("users")
		var u user
		var meta flyrpc.Metadata
		ctx := flyrpc.WithReplyMeta(flyrpc.WithMeta(t.Context(), "who", "me"), &meta)
		t.check(c.Request(ctx, "user.get", lookup{7}).Into(&u))
		if u != (user{7, "Ada"}) || meta.Get("who") != "me!" {
			t.Errorf("got %+v, %v", u, meta)
		}
		got, err := flyrpc.Call[user](t.Context(), c, "/user/get", lookup{8})
		if err != nil || got.ID != 8 {
			t.Errorf("by its path: %+v, %v", got, err)
		}
		err = c.Request(t.Context(), "user.get", lookup{}).Into(&u)
		var e *flyrpc.Error
		if !errors.Is(err, flyrpc.NotFound) || flyrpc.Outcome(err) != flyrpc.Answered || !errors.As(err, &e) || e.Message != "nobody" {
			t.Fatalf("an error: %v, %v", err, flyrpc.Outcome(err))
		}
		var details user
		if err := e.DecodeDetails(&details); err != nil || details.Name != "nobody" {
			t.Errorf("details: %+v, %v", details, err)
		}
	})
}

func TestFiveKinds(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("echo", nil)
		t.to(s.QueueBind("struct"), func(u *user) *user { return u })
		t.to(s.QueueBind("string"), func(v string) string { return v + "!" })
		t.to(s.QueueBind("bytes"), func(v []byte) []byte { return append(v, '!') })
		t.to(s.QueueBind("reader"), func(r io.Reader) (io.Reader, error) { return r, nil })
		t.to(s.QueueBind("nil"), func() {})
		c := t.service("caller", nil).Service("echo")
		var u user
		t.check(c.Request(t.Context(), "struct", user{1, "x"}).Into(&u))
		var text string
		t.check(c.Request(t.Context(), "string", "s").Into(&text))
		var raw []byte
		t.check(c.Request(t.Context(), "bytes", []byte{0}).Into(&raw))
		t.check(c.Request(t.Context(), "nil", nil).Into(nil))
		if u != (user{1, "x"}) || text != "s!" || string(raw) != "\x00!" {
			t.Errorf("got %+v, %q, %q", u, text, raw)
		}
		var r io.Reader
		t.check(c.Request(t.Context(), "reader", strings.NewReader(strings.Repeat("long", 1<<20))).Into(&r))
		got, err := io.ReadAll(r)
		if err != nil || string(got) != strings.Repeat("long", 1<<20) {
			t.Errorf("a reader: %d bytes, %v", len(got), err)
		}
	})
}

func TestNobody(t *testing.T) {
	bubble(t, func(t *net) {
		c := t.service("caller", nil).Service("nobody")
		start := time.Now()
		err := c.Request(t.Context(), "x", nil).Into(nil)
		if !errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed || time.Since(start) != 0 {
			t.Errorf("%v, %v, after %v", err, flyrpc.Outcome(err), time.Since(start))
		}
		t.check(c.Send(t.Context(), "x", "nobody hears it"))
		err = c.Request(t.Context(), "x", bytes.Repeat([]byte("large"), 1<<19)).Into(nil)
		if !errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed || time.Since(start) != 0 {
			t.Errorf("a large request: %v, %v, after %v", err, flyrpc.Outcome(err), time.Since(start))
		}
		for _, err := range flyrpc.Receive[int](t.Context(), c, "x", nil) {
			if !errors.Is(err, flyrpc.Unavailable) {
				t.Errorf("a stream: %v", err)
			}
		}
	})
}

func TestDeadlineAndCancel(t *testing.T) {
	bubble(t, func(t *net) {
		ended := make(chan error, 1)
		deadline := make(chan time.Duration, 1)
		t.to(t.service("slow", nil).QueueBind("wait"), func(ctx *flyrpc.Context) error {
			d, ok := ctx.Deadline()
			if !ok {
				d = time.Now()
			}
			deadline <- time.Until(d)
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		})
		c := t.service("caller", nil).Service("slow")
		start := time.Now()
		err := c.Request(t.Context(), "wait", nil).Into(nil)
		if took := time.Since(start); !errors.Is(err, flyrpc.Timeout) || took != service.DefaultRequestTimeout {
			t.Errorf("the default timeout: %v after %v", err, took)
		}
		if left := <-deadline; left < 29*time.Second || left > 31*time.Second {
			t.Errorf("the handler had %v", left)
		}
		<-ended
		err = c.RequestWithTimeout(t.Context(), "wait", nil, time.Second).Into(nil)
		if !errors.Is(err, flyrpc.Timeout) {
			t.Error(err)
		}
		<-deadline
		<-ended
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		err = c.Call(ctx, "wait", nil, nil)
		if !errors.Is(err, flyrpc.Canceled) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-deadline
		if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("the handler ended with %v after %v", err, time.Since(start))
		}
	})
}

func TestStreams(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("count"), func(ctx *flyrpc.Context, st *flyrpc.Stream, most int) error {
			for i := range most {
				if err := st.Send(i); err != nil {
					return err
				}
			}
			return nil
		})
		t.to(s.QueueBind("double"), func(st *flyrpc.Stream) error {
			for {
				var i int
				if err := st.Recv(&i); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := st.Send(2 * i); err != nil {
					return err
				}
			}
		})
		c := t.service("caller", nil).Service("s")
		sum := 0
		for i, err := range flyrpc.Receive[int](t.Context(), c, "count", 10_000) {
			t.check(err)
			sum += i
		}
		if sum != 9_999*5_000 {
			t.Errorf("the sum is %d", sum)
		}
		items := func(yield func(int) bool) {
			for i := range 10_000 {
				if !yield(i) {
					return
				}
			}
		}
		sum = 0
		for i, err := range flyrpc.Exchange[int, int](t.Context(), c, "double", nil, items) {
			t.check(err)
			sum += i
		}
		if sum != 2*9_999*5_000 {
			t.Errorf("the sum is %d", sum)
		}
	})
}

func TestLarge(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		t.to(s.QueueBind("echo"), func(b []byte) []byte { return b })
		all := make(chan int, 10)
		for range 3 {
			t.to(t.service("s", nil).Bind("all"), func(b []byte) { all <- len(b) })
		}
		c := t.service("caller", nil).Service("s")
		for _, size := range []int{0, 1, 15 << 10, 16 << 10, 17 << 10, 100 << 10, 1<<20 - 40, 1 << 20, 2 << 20, 4 << 20} {
			data := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, size/7+1)[:size]
			var got []byte
			if err := c.Request(t.Context(), "echo", data).Into(&got); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back as %d", size, len(got))
			}
			t.check(c.Send(t.Context(), "all", data))
			for range 3 {
				if got := <-all; got != size {
					t.Errorf("a broadcast of %d bytes came as %d", size, got)
				}
			}
		}
		err := c.Request(t.Context(), "echo", make([]byte, 4<<20+1)).Into(nil)
		if !errors.Is(err, flyrpc.TooLong) {
			t.Errorf("a byte too many: %v", err)
		}
	})
}
