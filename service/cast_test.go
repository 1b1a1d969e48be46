package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// pattern returns a reader of n bytes that differ.
func pattern(n int) io.Reader {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return bytes.NewReader(b)
}

// takers has so many instances of s read all that comes to "file".
type takers struct {
	mu   sync.Mutex
	took map[string][]byte // what instances have read, by their IDs
}

func (n *net) takers(instances int, opts *service.Opts) *takers {
	t := &takers{took: map[string][]byte{}}
	for range instances {
		s := n.service("s", opts)
		n.to(s.Bind("file"), func(r io.Reader) error { return t.take(s.ID(), r) })
	}
	synctest.Wait()
	return t
}

func (t *takers) take(id string, r io.Reader) error {
	b, err := io.ReadAll(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.took[id] != nil {
		err = errors.Join(err, errors.New("it came twice"))
	}
	t.took[id] = b
	return err
}

// check says what is wrong with what was read.
func (t *takers) check(n *net, instances, size int) {
	n.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	want, _ := io.ReadAll(pattern(size))
	if len(t.took) != instances {
		n.Errorf("%d instances have read it, not %d", len(t.took), instances)
	}
	for id, got := range t.took {
		if !bytes.Equal(got, want) {
			n.Errorf("%s has read %d bytes, not %d, or other ones", id, len(got), size)
		}
	}
}

// What is sent as an io.Reader reaches every instance of Bind and one of QueueBind, of whatever size.
func TestCast(t *testing.T) {
	for _, size := range []int{0, 1, 100 << 10, 300 << 10, 5 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bubble(t, func(t *net) {
				opts := &service.Opts{MaxMessage: 64 << 10}
				all, queue := t.takers(5, opts), t.takers(0, opts)
				for range 3 {
					s := t.service("s", opts)
					t.to(s.QueueBind("*"), func(r io.Reader) error { return queue.take("one", r) })
				}
				synctest.Wait()
				t.check(t.service("caller", opts).Service("s").Send(t.Context(), "file", pattern(size)))
				all.check(t, 5, size)
				queue.check(t, 1, size)
			})
		})
	}
}

// Send reads while the instances do, and no further than its window.
func TestCastWindow(t *testing.T) {
	bubble(t, func(t *net) {
		on := make(chan struct{})
		for range 2 {
			t.to(t.service("s", nil).Bind("file"), func(r io.Reader) error {
				<-on
				_, err := io.Copy(io.Discard, r)
				return err
			})
		}
		synctest.Wait()
		var read atomic.Int64
		sent := make(chan error)
		go func() {
			sent <- t.service("caller", nil).Service("s").Send(t.Context(), "file", counting{pattern(8 << 20), &read})
		}()
		time.Sleep(time.Minute)
		if n := read.Load(); n < 256<<10 || n > 1<<20 {
			t.Errorf("%d bytes were read while nobody took any", n)
		}
		close(on)
		t.check(<-sent)
		if n := read.Load(); n != 8<<20 {
			t.Errorf("%d bytes were read", n)
		}
	})
}

// counting is a reader that counts.
type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// An instance that takes nothing holds the others up for SendTimeout, and not for longer.
func TestCastSlow(t *testing.T) {
	bubble(t, func(t *net) {
		const size = 3 << 20
		quick := t.takers(2, nil)
		stuck := make(chan error, 1)
		t.to(t.service("s", nil).Bind("file"), func(ctx *flyrpc.Context, r io.Reader) error {
			<-ctx.Done()
			_, err := io.Copy(io.Discard, r)
			stuck <- err
			return nil
		})
		synctest.Wait()
		begun := time.Now()
		err := t.service("caller", nil).Service("s").Send(t.Context(), "file", pattern(size))
		if !errors.Is(err, flyrpc.Timeout) || !strings.Contains(err.Error(), "waited for it") {
			t.Errorf("%v", err)
		}
		if took := time.Since(begun); took > 2*service.DefaultSendTimeout+time.Second {
			t.Errorf("it took %v", took)
		}
		if err := <-stuck; err == nil {
			t.Error("the reader of the instance that was given up has ended in order")
		}
		quick.check(t, 2, size)
	})
}

// Whoever is late has it all, and too late nothing. Send waits for whoever may be late.
func TestCastLate(t *testing.T) {
	bubble(t, func(t *net) {
		const size = 100 << 10
		all := t.takers(1, nil)
		var late []*service.Service
		for _, wait := range []time.Duration{service.CastTime / 2, 2 * service.CastTime} {
			s, bus := t.spoiled("s", nil)
			bus.set(func(m service.Message) *service.Message { // its first message says that it takes it
				bus.set(nil)
				time.AfterFunc(wait, func() { t.check(bus.Publish(&m)) })
				return nil
			})
			t.to(s.Bind("file"), func(ctx *flyrpc.Context, r io.Reader) error { return all.take(s.ID(), r) })
			late = append(late, s)
		}
		synctest.Wait()
		begun := time.Now()
		t.check(t.service("caller", nil).Service("s").Send(t.Context(), "file", pattern(size)))
		if time.Since(begun) != service.CastTime {
			t.Errorf("it took %v", time.Since(begun))
		}
		all.check(t, 2, size)
		time.Sleep(2 * service.CastTime)
		synctest.Wait()
		all.check(t, 2, size)
		for _, s := range late {
			if n := service.Invited(s); n != 0 {
				t.Errorf("%d streams are expected", n)
			}
		}
	})
}

// Nobody there, refusals, a reader that fails, a context that ends: Send says so, and reads nothing in vain.
func TestCastErrors(t *testing.T) {
	bubble(t, func(t *net) {
		var read atomic.Int64
		r := func() io.Reader { return counting{pattern(1 << 20), &read} }
		c := t.service("caller", nil).Service("s")
		begun := time.Now()
		err := c.Send(t.Context(), "file", r())
		if !errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed || read.Load() != 0 || time.Since(begun) > 0 {
			t.Errorf("nobody: %v, %v, %d bytes read", err, flyrpc.Outcome(err), read.Load())
		}
		if err := c.Send(t.Context(), "a..b", r()); !errors.Is(err, flyrpc.BadRequest) || read.Load() != 0 {
			t.Errorf("no subject: %v", err)
		}
		if err := t.service("caller", nil).Service("no name").Send(t.Context(), "a", r()); err == nil {
			t.Error("a service without a name")
		}
		ends := make(chan error, 4)
		handler := func(ctx *flyrpc.Context, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			ends <- err
			return err
		}
		for range 2 {
			t.to(t.service("s", nil).Bind("file"), handler)
		}
		synctest.Wait()
		broken := errors.New("the disk is broken")
		err = c.Send(t.Context(), "file", io.MultiReader(pattern(300<<10), failing{broken}))
		if !errors.Is(err, broken) {
			t.Errorf("a reader that fails: %v", err)
		}
		for range 2 {
			if err := <-ends; err == nil {
				t.Error("a handler finds the end of a reader that has failed")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		reader, w := io.Pipe()
		go func() { // which writes on until nobody reads
			_, err := io.Copy(w, pattern(100<<10))
			time.Sleep(time.Minute)
			w.CloseWithError(err)
		}()
		err = c.Send(ctx, "file", reader)
		if !errors.Is(err, flyrpc.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that ends: %v", err)
		}
		for range 2 {
			if err := <-ends; err == nil {
				t.Error("a handler finds the end of a reader that was given up")
			}
		}
	})
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A handler that fails fails Send, and nobody else's.
func TestCastFails(t *testing.T) {
	bubble(t, func(t *net) {
		all := t.takers(2, nil)
		t.to(t.service("s", nil).Bind("file"), func(r io.Reader) error { return flyrpc.Errorf("FULL", "the disk is full") })
		synctest.Wait()
		err := t.service("caller", nil).Service("s").Send(t.Context(), "file", pattern(2<<20))
		if !errors.Is(err, flyrpc.Code("FULL")) {
			t.Errorf("%v", err)
		}
		all.check(t, 2, 2<<20)
	})
}

// To Next it is a message, which nobody can answer, and which is open until it was read.
func TestCastNext(t *testing.T) {
	bubble(t, func(t *net) {
		once, all := t.service("s", nil).BindOnce("file"), t.service("s", nil).Bind("file")
		got := make(chan int64, 3)
		take := func(b *service.Binding) {
			m, err := b.Next(t.Context())
			t.check(err)
			if m.Waits() || m.Source().Service != "caller" || m.Source().Instance == "" {
				t.Errorf("it waits: %v, from %v", m.Waits(), m.Source())
			}
			n, err := io.Copy(io.Discard, m)
			t.check(err)
			if err := m.Reply("nobody wants it"); !errors.Is(err, service.ErrNoReply) {
				t.Errorf("a reply: %v", err)
			}
			got <- n
		}
		go take(once)
		go take(all)
		synctest.Wait()
		c := t.service("caller", nil).Service("s")
		t.check(c.Send(t.Context(), "file", pattern(1<<20)))
		if a, b := <-got, <-got; a != 1<<20 || b != 1<<20 {
			t.Errorf("%d and %d bytes", a, b)
		}
		if _, err := once.Next(t.Context()); !errors.Is(err, service.ErrBindingClosed) {
			t.Errorf("BindOnce has taken one, and goes on: %v", err)
		}
		go func() { // that isn't read is let go of by Reply
			m, err := all.Next(t.Context())
			t.check(err)
			_ = m.Reply(nil)
		}()
		t.check(c.Send(t.Context(), "file", pattern(100)))
	})
}

// An instance that is shut down finishes what it has said yes to.
func TestCastShutdown(t *testing.T) {
	bubble(t, func(t *net) {
		all := t.takers(1, nil)
		s := t.service("s", nil)
		t.to(s.Bind("file"), func(r io.Reader) error { return all.take(s.ID(), r) })
		caller := t.service("caller", nil)
		synctest.Wait()
		reader, w := io.Pipe()
		sent := make(chan error, 1)
		go func() { sent <- caller.Service("s").Send(t.Context(), "file", reader) }()
		synctest.Wait()
		down := make(chan error, 2)
		for _, s := range []*service.Service{s, caller} {
			go func() { down <- s.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		_, err := io.Copy(w, pattern(1<<20))
		t.check(errors.Join(err, w.Close()))
		t.check(<-sent)
		t.check(<-down)
		t.check(<-down)
		all.check(t, 2, 1<<20)
	})
}

// A caller that is closed ends its casts.
func TestCastClose(t *testing.T) {
	bubble(t, func(t *net) {
		t.takers(2, nil)
		caller := t.service("caller", nil)
		reader, w := io.Pipe()
		sent := make(chan error, 1)
		go func() { sent <- caller.Service("s").Send(t.Context(), "file", reader) }()
		_, err := w.Write([]byte("begun"))
		t.check(err)
		synctest.Wait()
		caller.Close()
		go func() {
			for err == nil {
				_, err = w.Write([]byte("more"))
			}
		}()
		synctest.Wait()
		reader.Close()
		if err := <-sent; !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("%v", err)
		}
	})
}
