package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// eventLog notes what happens, in order.
type eventLog struct {
	mu   sync.Mutex
	list []string
}

func (l *eventLog) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, fmt.Sprintf(format, args...))
}

// take returns what was noted.
func (l *eventLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.Join(l.list, "; ")
	l.list = nil
	return s
}

// watch notes the begin and end of what it wraps.
func (l *eventLog) watch(name string) Middleware {
	return func(next Handler) Handler {
		return func(ctx *Context) (m any, err error) {
			l.add("%s begins", name)
			returned := false
			defer func() {
				if !returned {
					l.add("%s sees a panic", name)
				}
			}()
			m, err = next(ctx)
			returned = true
			l.add("%s ends: %v, %v", name, m, err)
			return m, err
		}
	}
}

// TestMiddlewareSeesStream: a stream is one call for middleware, which sees its end, its error and its panic.
func TestMiddlewareSeesStream(t *testing.T) {
	l := new(eventLog)
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.Use(l.watch("outer"))
		g := srv.Group("/g", l.watch("group"))
		items := func(how string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				l.add("yields")
				yield("a", nil)
				switch how {
				case "error":
					yield("dropped", Conflict)
				case "panic":
					panic("in the sequence")
				}
				l.add("last")
			}
		}
		g.OnMessage("/items", items)
		srv.With(l.watch("with")).OnMessage("/sum", func(items iter.Seq2[int, error]) (sum int, err error) {
			for n := range items {
				sum += n
			}
			l.add("sums")
			return sum, nil
		})
		srv.NotFound(func(ctx *Context, s *Stream) error { return s.Send(ctx.Path()) })
	})
	receive := func(path, how string) string {
		var all []string
		for s, err := range Receive[string](bounded(t), p.cli, path, how) {
			if err != nil {
				s = string(err.(*Error).Code)
			}
			all = append(all, s)
		}
		wantNothingLeft(t, "server", p.sc)
		return strings.Join(all, ",") + ": " + l.take()
	}
	for _, tt := range [][3]string{
		{"/g/items", "", "a: outer begins; group begins; yields; last; group ends: <nil>, <nil>; outer ends: <nil>, <nil>"},
		{"/g/items", "error", "a,CONFLICT: outer begins; group begins; yields; last; group ends: <nil>, CONFLICT; outer ends: <nil>, CONFLICT"},
		{"/g/items", "panic", "a,HANDLER_PANIC: outer begins; group begins; yields; group sees a panic; outer sees a panic"},
		{"/nobody", "", "/nobody: outer begins; outer ends: <nil>, <nil>"},
	} {
		if got := receive(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s %s:\n got %s\nwant %s", tt[0], tt[1], got, tt[2])
		}
	}
	if n, err := Upload[int](bounded(t), p.cli, "/sum", nil, slices.Values([]int{1, 2})); n != 3 || err != nil {
		t.Error(n, err)
	}
	wantNothingLeft(t, "server", p.sc)
	if got := l.take(); got != "outer begins; with begins; sums; with ends: 3, <nil>; outer ends: 3, <nil>" {
		t.Error(got)
	}
	p.log.want(t, "in the sequence")
}

// TestOrderedStreams: streams of an Ordered route run one after the other.
func TestOrderedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(eventLog)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/ordered", func(name string) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					l.add("%s begins", name)
					for i := range 3 {
						time.Sleep(time.Second)
						yield(i, nil)
					}
					l.add("%s ends", name)
				}
			}, Ordered)
		})
		var streams []*Stream
		for _, name := range []string{"a", "b"} {
			s, err := p.cc.OpenStream(t.Context(), "/ordered", name)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		for i := len(streams) - 1; i >= 0; i-- {
			for s := streams[i]; ; {
				if err := s.Recv(nil); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := l.take(); got != "a begins; a ends; b begins; b ends" {
			t.Error(got)
		}
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestWithContextBoundsStream: a context that middleware gives a handler ends its Recv and Send.
func TestWithContextBoundsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan error, 2)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.Use(func(next Handler) Handler {
				return func(ctx *Context) (any, error) {
					c, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					return next(ctx.WithContext(c))
				}
			})
			srv.OnMessage("/recv", func(s *Stream) error { err := s.Recv(nil); ends <- err; return err })
			srv.OnMessage("/send", func(s *Stream) (err error) {
				for err == nil {
					err = s.Send("x")
				}
				ends <- err
				return err
			})
		})
		for _, path := range []string{"/recv", "/send"} {
			s, err := p.cc.OpenStream(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-ends; !errors.Is(err, Timeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(path, err)
			}
			for err = error(nil); err == nil; {
				err = s.Recv(nil)
			}
			if !errors.Is(err, Timeout) || errors.Is(err, context.DeadlineExceeded) {
				t.Error(path, err)
			}
		}
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestRegisterStreamFaults: a handler that can't stream as it says is refused when it is registered.
func TestRegisterStreamFaults(t *testing.T) {
	r := NewServer(nil)
	t.Cleanup(func() { r.Close() })
	for _, tt := range []struct {
		handler any
		opts    []RouteOption
		want    string
	}{
		{func(*Stream) {}, []RouteOption{Inline}, "can't be Inline"},
		{func() iter.Seq2[int, error] { return nil }, []RouteOption{Ordered | Inline}, "can't be Inline"},
		{func(io.Reader) {}, []RouteOption{Inline}, "can't be Inline"},
		{func() io.ReadCloser { return nil }, []RouteOption{Inline}, "can't be Inline"},
		{func(*Stream, io.Reader) {}, nil, "parameters 1 and 2 both take what the caller sends"},
		{func(iter.Seq2[int, error], int, iter.Seq2[int, error]) {}, nil, "parameters 1 and 3 both take what the caller sends"},
		{func(iter.Seq2[chan int, error]) {}, nil, "its items are chan int, and a channel can be no message"},
		{func(iter.Seq2[*Stream, error]) {}, nil, "and not *flyrpc.Stream"},
		{func(iter.Seq2[io.Reader, error]) {}, nil, "an interface other than any"},
		{func() iter.Seq2[func(), error] { return nil }, nil, "a function can be no message"},
		{func() *Stream { return nil }, nil, "can be no message"},
		{func() iter.Seq[int] { return nil }, nil, "a function can be no message"},
		{func(iter.Seq[int]) {}, nil, "a function can be no message"},
		{func(iter.Seq2[int, int]) {}, nil, "a function can be no message"},
	} {
		func() {
			defer func() {
				text := fmt.Sprint(recover())
				if !strings.Contains(text, tt.want) || !strings.Contains(text, "stream_middleware_test.go") {
					t.Errorf("%T: %s; want %s and the place", tt.handler, text, tt.want)
				}
			}()
			r.OnMessage("/x", tt.handler, tt.opts...)
			t.Errorf("%T was registered", tt.handler)
		}()
	}
	for i, ok := range []any{func(*Stream) {}, func(io.Reader) iter.Seq2[any, error] { return nil }, func(*Context, []byte, iter.Seq2[*point, error]) (io.ReadCloser, error) { return nil, nil }} {
		r.OnMessage(fmt.Sprint("/", i), ok, Ordered, NoCompress, Idempotent)
	}
}
