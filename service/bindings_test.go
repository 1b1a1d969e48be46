package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// tally counts what comes, by name.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int{}
	}
	t.n[name]++
}

func (t *tally) of(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[name]
}

// A message reaches every Bind and one QueueBind, also on the same subject, and by wildcards.
func TestEveryInstanceAndOne(t *testing.T) {
	bubble(t, func(t *net) {
		var all, queue, wild tally
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			s := t.service("s", nil)
			t.to(s.Bind("event.made"), func() { all.add(name) })
			t.to(s.QueueBind("event.made"), func() { queue.add("") })
			t.to(s.Bind("event.*"), func(ctx *flyrpc.Context) { wild.add(ctx.Path()) })
			t.to(s.QueueBind("other.>"), func() { t.Error("another subject's message came") })
		}
		c := t.service("caller", nil).Service("s")
		for range 10 {
			t.check(c.Send(t.Context(), "event.made", user{}))
		}
		t.check(c.Send(t.Context(), "/event/lost.%", nil))
		synctest.Wait()
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			if n := all.of(name); n != 10 {
				t.Errorf("%s was given %d", name, n)
			}
		}
		if queue.of("") != 10 || wild.of("event.made") != 50 || wild.of("/event/lost.%") != 5 {
			t.Errorf("the queue was given %v, the pattern %v", queue.n, wild.n)
		}
	})
}

// Of the replies to a request that several instances take, the first wins. The others are dropped and counted.
func TestFirstReplyWins(t *testing.T) {
	bubble(t, func(t *net) {
		for i, wait := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second} {
			t.to(t.service("s", nil).Bind("who"), func() int {
				time.Sleep(wait)
				return i
			})
		}
		caller := t.service("caller", nil)
		start := time.Now()
		got := -1
		t.check(caller.Service("s").Request(t.Context(), "who", nil).Into(&got))
		if got != 1 || time.Since(start) != time.Second {
			t.Errorf("%d was the first, after %v", got, time.Since(start))
		}
		if n := caller.Stats().Late; n != 0 {
			t.Errorf("%d late replies already", n)
		}
		time.Sleep(5 * time.Second)
		if n := caller.Stats().Late; n != 2 {
			t.Errorf("%d late replies, not 2", n)
		}
	})
}

// A stream to several instances has one callee; the others are told so.
func TestStreamToSeveral(t *testing.T) {
	bubble(t, func(t *net) {
		var running, summed atomic.Int32
		for range 3 {
			t.to(t.service("s", nil).Bind("items"), func(ctx *flyrpc.Context, st *flyrpc.Stream) error {
				running.Add(1)
				defer running.Add(-1)
				sum := 0
				for {
					var i int
					switch err := st.Recv(&i); {
					case err == io.EOF:
						summed.Add(1)
						return st.Send(sum)
					case err != nil:
						return err
					}
					sum += i
				}
			})
		}
		st, err := t.service("caller", nil).Service("s").OpenStream(t.Context(), "items", nil)
		t.check(err)
		for i := range 100 {
			t.check(st.Send(i))
		}
		t.check(st.CloseSend())
		var sum int
		t.check(st.Recv(&sum))
		if err := st.Recv(&sum); err != io.EOF || sum != 4950 {
			t.Errorf("%d, %v", sum, err)
		}
		synctest.Wait()
		if summed.Load() != 1 || running.Load() != 0 {
			t.Errorf("%d instances had all items, %d have not ended", summed.Load(), running.Load())
		}
	})
}

func TestNextAndReply(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		b := s.QueueBind("work.*")
		c := t.service("caller", nil).Service("s")
		got := make(chan error, 1)
		begin := func(v, reply any) {
			go func() { got <- c.Request(flyrpc.WithMeta(t.Context(), "k", "v"), "work.x", v).Into(reply) }()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if m, err := b.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, %v", m, err)
		}
		var reply user
		begin(lookup{3}, &reply)
		m, err := b.Next(t.Context())
		t.check(err)
		var q lookup
		t.check(m.Into(&q))
		t.check(m.Into(&q))
		if q.ID != 3 || !m.Waits() || m.Subject() != "work.x" || m.Meta().Get("k") != "v" || m.Context().Err() != nil {
			t.Errorf("%+v of %q, %v", q, m.Subject(), m.Meta())
		}
		t.check(m.Reply(user{q.ID, "Bob"}))
		t.check(<-got)
		if reply.Name != "Bob" {
			t.Errorf("%+v", reply)
		}
		if err := m.Reply("again"); !errors.Is(err, service.ErrNoReply) {
			t.Errorf("a second reply: %v", err)
		}
		begin(nil, nil)
		m, err = b.Next(t.Context())
		t.check(err)
		t.check(m.Reply(flyrpc.Forbidden))
		if err := <-got; !errors.Is(err, flyrpc.Forbidden) {
			t.Error(err)
		}
		var text string
		begin("raw", &text)
		m, err = b.Next(t.Context())
		t.check(err)
		t.check(m.Reply(io.MultiReader(strings.NewReader("read "), m)))
		t.check(<-got)
		if text != "read raw" {
			t.Errorf("%q", text)
		}
		t.check(c.Send(t.Context(), "work.y", []byte("sent")))
		m, err = b.Next(t.Context())
		t.check(err)
		data, err := io.ReadAll(m)
		if err != nil || string(data) != "sent" || m.Waits() {
			t.Errorf("%q, %v", data, err)
		}
		if err := m.Reply(1); !errors.Is(err, service.ErrNoReply) {
			t.Errorf("a reply to a Send: %v", err)
		}
		b.Unbind()
		b.Unbind()
		if _, err := b.Next(t.Context()); !errors.Is(err, service.ErrBindingClosed) {
			t.Errorf("after Unbind: %v", err)
		}
		if err := b.To(func() {}); err == nil {
			t.Error("To after Unbind")
		}
	})
}

// What the caller doesn't wait for any more, and readers larger than any message, come to Next too.
func TestNextReaders(t *testing.T) {
	bubble(t, func(t *net) {
		b := t.service("s", &service.Opts{MaxMessage: 1 << 10}).QueueBind("file")
		c := t.service("caller", &service.Opts{MaxMessage: 1 << 10}).Service("s")
		begun, cancelBegun := context.WithCancel(t.Context())
		cancelBegun()
		if _, err := b.Next(begun); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), "file", bytes.NewReader(make([]byte, 1<<20))) }()
		m, err := b.Next(t.Context())
		t.check(err)
		n, err := io.Copy(io.Discard, m)
		if n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		t.check(<-sent)
		if err := m.Reply(nil); !errors.Is(err, service.ErrNoReply) || m.Waits() {
			t.Errorf("a reply to a message: %v", err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { sent <- c.Request(ctx, "file", nil).Into(nil) }()
		m, err = b.Next(t.Context())
		t.check(err)
		<-m.Context().Done()
		if err := <-sent; !errors.Is(err, flyrpc.Timeout) {
			t.Error(err)
		}
		synctest.Wait()
		if err := m.Reply("late"); !errors.Is(err, service.ErrNoReply) {
			t.Errorf("a reply that nobody waits for: %v", err)
		}
	})
}

func TestAllAndWithCtx(t *testing.T) {
	bubble(t, func(t *net) {
		ctx, cancel := context.WithCancel(t.Context())
		b := t.service("s", nil).Bind("x").WithCtx(ctx)
		c := t.service("caller", nil).Service("s")
		done := make(chan int)
		go func() {
			n := 0
			for m := range b.All(context.Background()) {
				var i int
				t.check(m.Into(&i))
				n += i
			}
			done <- n
		}()
		synctest.Wait()
		for i := range 10 {
			t.check(c.Send(t.Context(), "x", i))
		}
		synctest.Wait()
		cancel()
		if n := <-done; n != 45 {
			t.Errorf("the sum is %d", n)
		}
		defer func() {
			if recover() == nil {
				t.Error("a second WithCtx doesn't panic")
			}
		}()
		b.WithCtx(ctx)
	})
}

func TestBindOnce(t *testing.T) {
	bubble(t, func(t *net) {
		var n atomic.Int32
		b := t.to(t.service("s", nil).BindOnce("x"), func() { n.Add(1) })
		c := t.service("caller", nil).Service("s")
		for range 5 {
			t.check(c.Send(t.Context(), "x", nil))
		}
		synctest.Wait()
		if n.Load() != 1 {
			t.Errorf("it was handled %d times", n.Load())
		}
		if err := c.Request(t.Context(), "x", nil).Into(nil); !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("afterwards: %v", err)
		}
		b.Unbind()
	})
}

func TestServe(t *testing.T) {
	bubble(t, func(t *net) {
		r := flyrpc.NewRouter()
		var seen atomic.Int32
		r.Use(func(next flyrpc.Handler) flyrpc.Handler {
			return func(ctx *flyrpc.Context) (any, error) {
				seen.Add(1)
				return next(ctx)
			}
		})
		r.OnMessage("/user/{id}", func(ctx *flyrpc.Context) string { return "user " + ctx.Param("id") })
		r.OnMessage("/user/me", func() string { return "me" })
		r.OnMessage("/files/{path...}", func(ctx *flyrpc.Context) string { return "file " + ctx.Param("path") })
		r.OnMessage("plain.subject", func() string { return "plain" })
		s := t.service("s", nil)
		b, err := s.Serve(r)
		t.check(err)
		second, err := t.service("s", nil).Serve(r)
		t.check(err)
		c := t.service("caller", nil).Service("s")
		for path, want := range map[string]string{
			"/user/7": "user 7", "/user/me": "me", "/files/a/b.txt": "file a/b.txt", "/user/a.b c%": "user a.b c%",
			"plain.subject": "plain", "/files/ü//": "file ü//",
		} {
			got, err := flyrpc.Call[string](t.Context(), c, path, nil)
			if err != nil || got != want {
				t.Errorf("%q: %q, %v", path, got, err)
			}
		}
		if seen.Load() != 6 {
			t.Errorf("middleware saw %d", seen.Load())
		}
		if err := c.Call(t.Context(), "/nothing", nil, nil); !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("an unknown path: %v", err)
		}
		if err := c.Call(t.Context(), "files.x", nil, nil); !errors.Is(err, flyrpc.NotFound) {
			t.Errorf("a path that only has the subject of a route: %v", err)
		}
		b.Unbind()
		second.Unbind()
		synctest.Wait()
		if err := c.Call(t.Context(), "/user/7", nil, nil); !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("after Unbind: %v", err)
		}
		if _, err := s.Serve(flyrpc.NewRouter()); err == nil {
			t.Error("a Router without routes")
		}
	})
}

func TestWrongBindings(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		for _, subject := range []string{"", "a..b", "a b", "_FLY", "a.>.b"} {
			if err := s.Bind(subject).To(func() {}); !errors.Is(err, service.ErrBadSubject) {
				t.Errorf("%q: %v", subject, err)
			}
			if _, err := s.Bind(subject).Next(t.Context()); !errors.Is(err, service.ErrBadSubject) {
				t.Errorf("%q: %v", subject, err)
			}
		}
		b := t.to(s.Bind("x"), func() {})
		if err := b.To(func() {}); err == nil {
			t.Error("To twice")
		}
		if _, err := b.Next(t.Context()); err == nil {
			t.Error("To and Next")
		}
		c := t.service("caller", nil)
		for name, subject := range map[string]string{"no name": "x", "s": "a b", "": "x"} {
			if err := c.Service(name).Request(t.Context(), subject, nil).Into(nil); err == nil {
				t.Errorf("service %q, subject %q", name, subject)
			}
		}
		s.Close()
		if err := s.Bind("y").To(func() {}); !errors.Is(err, service.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := s.Self().Send(t.Context(), "x", nil); !errors.Is(err, service.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
	})
}

// Middleware and interceptors see what they see on a connection.
func TestMiddleware(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		s.Use(func(next flyrpc.Handler) flyrpc.Handler {
			return func(ctx *flyrpc.Context) (any, error) {
				if ctx.Meta().Get("key") != "secret" {
					return nil, ctx.Refuse(flyrpc.Errorf(flyrpc.Unauthenticated, "no key"))
				}
				return next(ctx)
			}
		})
		t.to(s.QueueBind("x"), func() string { return "in" })
		t.to(s.QueueBind("panics"), func() string { panic("oh") })
		plain := t.service("caller", nil).Service("s")
		err := plain.Request(t.Context(), "x", nil).Into(nil)
		if !errors.Is(err, flyrpc.Unauthenticated) || flyrpc.Outcome(err) != flyrpc.NotProcessed {
			t.Errorf("%v, %v", err, flyrpc.Outcome(err))
		}
		keyed := t.service("caller", &service.Opts{Intercept: []flyrpc.Interceptor{func(next flyrpc.Invoker) flyrpc.Invoker {
			return func(ctx context.Context, call *flyrpc.Outgoing) error {
				return next(flyrpc.WithMeta(ctx, "key", "secret"), call)
			}
		}}}).Service("s")
		got, err := flyrpc.Call[string](t.Context(), keyed, "x", nil)
		if err != nil || got != "in" {
			t.Errorf("%q, %v", got, err)
		}
		if err := keyed.Call(t.Context(), "panics", nil, nil); !errors.Is(err, flyrpc.HandlerPanic) {
			t.Errorf("a panic: %v", err)
		}
	})
}

func TestSerializersAndZip(t *testing.T) {
	// see TestFiveKinds for the default
	bubble(t, func(t *net) {
		mine := errors.New("mine")
		opts := &service.Opts{
			Zip:    flyrpc.Zip{Body: flyrpc.ZipZstd},
			Errors: map[flyrpc.Code]error{"MINE": mine},
		}
		s := t.service("s", opts)
		t.to(s.QueueBind("echo"), func(v string) string { return v })
		t.to(s.QueueBind("fails"), func() error { return mine })
		c := t.service("caller", opts).Service("s")
		long := strings.Repeat("compressible ", 100_000)
		got, err := flyrpc.Call[string](t.Context(), c, "echo", long)
		if err != nil || got != long {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := c.Call(t.Context(), "fails", nil, nil); !errors.Is(err, mine) {
			t.Errorf("an error of the program's own: %v", err)
		}
	})
}
