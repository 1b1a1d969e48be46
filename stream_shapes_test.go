package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// pt is an item.
type pt struct{ X, Y int }

// closed counts how often a reader was closed.
type closed struct {
	io.Reader
	n *atomic.Int32
}

func (c closed) Close() error { c.n.Add(1); return nil }

// back yields what a sequence yields, changed.
func back[T any](items iter.Seq2[T, error], change func(T) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range items {
			if err != nil {
				yield(v, err)
				return
			}
			if !yield(change(v), nil) {
				return
			}
		}
	}
}

// shapeHandlers registers a handler of each shape.
func shapeHandlers(r Registrar, closes *atomic.Int32) {
	on := r.registrar().OnMessage
	on("/struct", func(items iter.Seq2[pt, error]) iter.Seq2[pt, error] {
		return back(items, func(p pt) pt { return pt{p.Y, p.X} })
	})
	on("/pointer", func(ctx *Context, items iter.Seq2[*pt, error]) (iter.Seq2[*pt, error], error) {
		return back(items, func(p *pt) *pt { return &pt{p.Y, p.X} }), nil
	})
	on("/text", func(add string, ctx context.Context, items iter.Seq2[string, error]) iter.Seq2[string, error] {
		return back(items, func(s string) string { return s + add })
	})
	on("/bytes", func(m *pt, items iter.Seq2[[]byte, error], p *Packet) iter.Seq2[[]byte, error] {
		return back(items, func(b []byte) []byte { return bytes.Repeat(b, m.X) })
	})
	on("/any", func(items iter.Seq2[any, error]) iter.Seq2[any, error] {
		return back(items, func(v any) any { return v })
	})
	on("/error", func(items iter.Seq2[int, error]) (iter.Seq2[int, error], error) { return nil, Conflict })
	on("/nil", func() (iter.Seq2[int, error], error) { return nil, nil })
	on("/twice", func(items iter.Seq2[int, error]) (n int, err error) {
		for range 2 { // the second time there are none left
			for v := range items {
				n += v
			}
		}
		return n, nil
	})
	on("/stream", func(m pt, s *Stream) (*pt, error) {
		for range m.X {
			if err := s.Send(m); err != nil {
				return nil, err
			}
		}
		return &pt{9, 9}, nil
	})
	on("/reader", func(m string, r io.Reader) io.Reader { return io.MultiReader(strings.NewReader(m), r) })
	on("/plain", func(r io.Reader) io.Reader { return r })
	on("/closer", func() (io.ReadCloser, error) { return closed{strings.NewReader("abc"), closes}, nil })
	on("/closer-type", func() closed { return closed{strings.NewReader("abc"), closes} })
	on("/closer-any", func() any { return closed{strings.NewReader("abc"), closes} })
	on("/closer-handler", func(*Context) (any, error) { return closed{strings.NewReader("abc"), closes}, nil })
	on("/closer-endless", func() io.Reader { return closed{counting{}, closes} })
	on("/closer-fails", func() any { return closed{failing{Conflict}, closes} })
	on("/stringer", func() fmt.Stringer { return bytes.NewBufferString("abc") })
}

// TestEveryStreamShape calls handlers of all shapes that stream, from both ends, in memory and over a socket.
func TestEveryStreamShape(t *testing.T) {
	for _, kind := range []string{"mem", "tcp"} {
		var closes atomic.Int32
		setup := func(srv *Server, cli *Client) {
			shapeHandlers(srv, &closes)
			shapeHandlers(cli, &closes)
		}
		t.Run(kind, func(t *testing.T) {
			var p *pair
			if kind == "mem" {
				p = newPair(t, nil, nil, setup)
			} else {
				p = newTCPPair(t, setup)
			}
			for name, c := range map[string]*Conn{"client": p.cc, "server": p.sc} {
				t.Run(name, func(t *testing.T) {
					itemShapes(t, c)
					readerShapes(t, c)
					closerShapes(t, c, &closes)
				})
				wantNothingLeft(t, name, c)
			}
		})
	}
}

// exchanged returns all items that Exchange yields.
func exchanged[In, Out any](t *testing.T, c Caller, path string, message any, items ...In) (all []Out) {
	t.Helper()
	for v, err := range Exchange[In, Out](bounded(t), c, path, message, slices.Values(items)) {
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		all = append(all, v)
	}
	return all
}

func itemShapes(t *testing.T, c *Conn) {
	ctx := bounded(t)
	want := func(path string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	want("/struct", exchanged[pt, pt](t, c, "/struct", nil, pt{1, 2}, pt{3, 4}), []pt{{2, 1}, {4, 3}})
	var flat []pt
	for _, p := range exchanged[*pt, *pt](t, c, "/pointer", nil, &pt{1, 2}, nil, &pt{3, 4}) {
		flat = append(flat, *p)
	}
	want("/pointer", flat, []pt{{2, 1}, {0, 0}, {4, 3}})
	want("/text", exchanged[string, string](t, c, "/text", "!", "a", "", "b"), []string{"a!", "!", "b!"})
	want("/bytes", exchanged[[]byte, []byte](t, c, "/bytes", pt{X: 2}, []byte("a"), nil), [][]byte{[]byte("aa"), {}})
	want("/any", exchanged[any, any](t, c, "/any", nil, "a", []byte("b"), nil, true), []any{"a", []byte("b"), nil, true})
	want("/nil", exchanged[int, int](t, c, "/nil", nil, 1), []int(nil))
	want("/stream", exchanged[int, pt](t, c, "/stream", pt{2, 5}), []pt{{2, 5}, {2, 5}, {9, 9}})
	want("/stream without items", exchanged[int, pt](t, c, "/stream", pt{0, 5}), []pt{{9, 9}})
	if n, err := Upload[int](ctx, c, "/twice", nil, slices.Values([]int{1, 2, 3})); n != 6 || err != nil {
		t.Error(n, err)
	}
	_, err := Upload[int](ctx, c, "/error", nil, slices.Values([]int{1, 2, 3}))
	wantFailed(t, err, Conflict, Answered)
	var one pt
	if err := c.Call(ctx, "/stream", pt{0, 5}, &one); err != nil || one != (pt{9, 9}) {
		t.Error(one, err)
	}
	for _, err := range Receive[pt](ctx, c, "/text", "!") {
		t.Error("an item, or", err) // no items are promised, so none come
	}
}

func readerShapes(t *testing.T, c *Conn) {
	ctx := bounded(t)
	for _, n := range []int{0, 1, 100, 40_000, 1 << 20} {
		in := text(n, n)
		for path, want := range map[string][]byte{"/plain": in} {
			b, err := Call[[]byte](ctx, c, path, bytes.NewReader(in))
			if !bytes.Equal(b, want) || err != nil {
				t.Errorf("%s: %d bytes, %v", path, len(b), err)
			}
			if b, err = Call[[]byte](ctx, c, path, in); !bytes.Equal(b, want) || err != nil { // as a message
				t.Errorf("%s: %d bytes, %v", path, len(b), err)
			}
			r, err := Call[io.ReadCloser](ctx, c, path, bytes.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = io.ReadAll(r); !bytes.Equal(b, want) || err != nil {
				t.Errorf("%s: %d bytes, %v", path, len(b), err)
			}
			r.Close()
		}
	}
	s, err := c.OpenStream(ctx, "/reader", "ab")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(strings.NewReader("cd")); err != nil {
		t.Error(err)
	}
	s.CloseSend()
	if b, err := io.ReadAll(&itemReader{s: s}); string(b) != "abcd" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := Call[string](ctx, c, "/reader", "ab"); b != "ab" || err != nil { // no items are promised
		t.Errorf("%q, %v", b, err)
	}
	_, err = Call[io.Reader](ctx, c, "/error", nil)
	wantFailed(t, err, Conflict, Answered)
	_, err = Call[io.Reader](ctx, c, "/nobody", nil)
	wantFailed(t, err, NotFound, NotProcessed)
	if b, err := Call[string](ctx, c, "/stringer", nil); b != "abc" || err != nil {
		t.Errorf("an interface that holds a reader: %q, %v", b, err)
	}
}

func closerShapes(t *testing.T, c *Conn, closes *atomic.Int32) {
	ctx := bounded(t)
	closes.Store(0)
	for i, path := range []string{"/closer", "/closer-type", "/closer-any", "/closer-handler"} {
		if b, err := Call[string](ctx, c, path, nil); b != "abc" || err != nil || closes.Load() != int32(i+1) {
			t.Errorf("%s: %q, %v, %d closed", path, b, err, closes.Load())
		}
	}
	_, err := Call[string](ctx, c, "/closer-fails", nil)
	if !errors.Is(err, Failed) && !errors.Is(err, Conflict) || closes.Load() != 5 {
		t.Error(err, closes.Load())
	}
	r, err := Call[io.ReadCloser](ctx, c, "/closer-endless", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if !eventually(func() bool { return closes.Load() == 6 }) {
		t.Error("a reader whose caller has gone isn't closed")
	}
}

// TestPanicOfSentReader: a reader that panics does so in whoever made the call.
func TestPanicOfSentReader(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) { streamHandlers(srv) })
	func() {
		defer func() {
			if r := recover(); r != "in the reader" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = p.cc.Call(bounded(t), "/join", panicking{}, nil)
	}()
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("in the reader") }

// TestStreamsOfVersion1: a version 1 peer can't call what answers with items, and isn't sent any.
func TestStreamsOfVersion1(t *testing.T) {
	srv := quietServer(t, nil)
	shapeHandlers(srv, new(atomic.Int32))
	w := wireTo(t, srv)
	for i, path := range []string{"/stream", "/closer", "/nil", "/closer-any", "/closer-handler"} {
		w.request(uint16(i+1), path, "null")
		w.wantAnswer(uint16(i+1), BadRequest, "")
	}
	w.request(9, "/twice", "null")
	w.wantAnswer(9, "", "0")
	w.request(10, "/plain", "abc")
	w.wantAnswer(10, BadRequest, "")

	w.request(11, "fly.ping", "x")
	if p := w.recv(); p.Sequence != 11 {
		t.Errorf("%+v", p)
	}
}

// TestReplyMadeOfItems: what is sent may be made of what is received, in one goroutine.
func TestReplyMadeOfItems(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/lines", func(items iter.Seq2[string, error]) io.Reader {
			next, stop := iter.Pull2(items)
			return &pulled{next, stop}
		})
	})
	s, err := p.cc.OpenStream(bounded(t), "/lines", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"a", "b"} {
		if err := s.Send(line); err != nil {
			t.Fatal(err)
		}
		var got []byte
		if err := s.Recv(&got); string(got) != line || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	_ = s.CloseSend()
	if err := s.Recv(nil); err != io.EOF {
		t.Error(err)
	}
}

// pulled reads items, each as long as it is.
type pulled struct {
	next func() (string, error, bool)
	stop func()
}

func (r *pulled) Read(p []byte) (int, error) {
	item, err, ok := r.next()
	if !ok {
		return 0, io.EOF
	}
	return copy(p, item), err
}

func (r *pulled) Close() error { r.stop(); return nil }
