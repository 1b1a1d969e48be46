package adapt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"
)

// script is a call's items: what comes in, and what was sent.
type script struct {
	in      []any // items and errors
	out     []any
	stopped int
	most    int // items that can be sent; 0 is any number
}

var errGone = errors.New("gone")

// source returns a Source whose items are those of s.
func (s *script) source() Source[*call, *frame, *stream] {
	src := testSource()
	src.Stream = func(*call) *stream { return &stream{items: []string{"stream"}} }
	src.Reader = func(*call) io.Reader { return strings.NewReader("read") }
	src.Stop = func(*call) { s.stopped++ }
	src.Recv = func(_ *call, v any) error {
		if len(s.in) == 0 {
			return io.EOF
		}
		next := s.in[0]
		s.in = s.in[1:]
		if err, ok := next.(error); ok {
			return err
		}
		reflect.ValueOf(v).Elem().Set(reflect.ValueOf(next))
		return nil
	}
	src.Send = func(_ *call, v any) error {
		if s.most > 0 && len(s.out) == s.most {
			return errGone
		}
		if r, ok := v.(io.Reader); ok {
			b, err := io.ReadAll(r)
			s.out = append(s.out, "bytes:"+string(b))
			return err
		}
		s.out = append(s.out, v)
		return nil
	}
	return src
}

// run calls fn with the items of s.
func (s *script) run(t *testing.T, fn any) (any, error) {
	t.Helper()
	v := reflect.ValueOf(fn)
	p, err := New(v, testTypes())
	if err != nil {
		t.Fatal(err)
	}
	return Bind(p, v, s.source())(newCall(`{"ID":7}`))
}

func TestNewItems(t *testing.T) {
	for _, tt := range []struct {
		fn            any
		kinds         []Kind
		message       any
		takes, yields bool
	}{
		{func(iter.Seq2[item, error]) {}, []Kind{Items}, nil, true, false},
		{func(iter.Seq2[*item, error], item) {}, []Kind{Items, Value}, new(item), true, false},
		{func(func(func(item, error) bool)) {}, []Kind{Items}, nil, true, false},
		{func(io.Reader) {}, []Kind{Reader}, nil, true, false},
		{func(*stream) {}, []Kind{Stream}, nil, true, true},
		{func(string, io.Reader) {}, []Kind{Value, Reader}, new(string), true, false},
		{func(context.Context, []byte, *item, *stream, *frame) {}, []Kind{StdContext, Bytes, Pointer, Stream, Packet}, new(item), true, true},
		{func() iter.Seq2[item, error] { return nil }, nil, nil, false, true},
		{func() (iter.Seq2[any, error], error) { return nil, nil }, nil, nil, false, true},
		{func() io.Reader { return nil }, nil, nil, false, true},
		{func() *strings.Reader { return nil }, nil, nil, false, true},
		{func() any { return nil }, nil, nil, false, false},
		{func(iter.Seq2[item, error]) item { return item{} }, []Kind{Items}, nil, true, false},
	} {
		p, err := New(reflect.ValueOf(tt.fn), testTypes())
		if err != nil {
			t.Errorf("%T: %v", tt.fn, err)
			continue
		}
		var kinds []Kind
		for _, param := range p.Params {
			kinds = append(kinds, param.Kind)
		}
		if fmt.Sprint(kinds) != fmt.Sprint(tt.kinds) || p.Message != elem(tt.message) || p.Takes != tt.takes || p.Yields != tt.yields {
			t.Errorf("%T: kinds %v, message %v, takes %v, yields %v", tt.fn, kinds, p.Message, p.Takes, p.Yields)
		}
	}
}

func TestNoItems(t *testing.T) {
	for _, v := range []any{
		func(func(item, error) bool, int) {}, func(...func(item, error) bool) {}, func(func(item, error)) {}, func(func(item, error) int) {},
		func(func(item) bool) {}, func(func(item, int) bool) {}, func(func(item, ...error) bool) {}, func(int) {}, func(func(item, error) bool) int { return 0 }, 5,
	} {
		if item := itemType(reflect.TypeOf(v)); item != nil {
			t.Errorf("%T yields %v", v, item)
		}
	}
}

func TestBindTakesItems(t *testing.T) {
	no := errors.New("no")
	collect := func(most int) func(iter.Seq2[item, error]) (string, error) {
		return func(items iter.Seq2[item, error]) (all string, err error) {
			for range 2 {
				for v, err := range items {
					if err != nil {
						return all, err
					}
					if all += fmt.Sprint(v.ID); len(all) == most {
						break
					}
				}
			}
			return all, nil
		}
	}
	for _, tt := range []struct {
		in      []any
		most    int
		want    any
		err     error
		stopped int
	}{
		{nil, 0, "", nil, 0},
		{[]any{item{1}, item{2}}, 0, "12", nil, 0},
		{[]any{item{1}, item{2}, item{3}}, 2, "12", nil, 1},
		{[]any{item{1}, no, item{2}}, 0, nil, no, 1}, // leaving the loop with an error stops as well
	} {
		s := &script{in: tt.in}
		if m, err := s.run(t, collect(tt.most)); m != tt.want || err != tt.err || s.stopped != tt.stopped {
			t.Errorf("%v: %v, %v, stopped %d times", tt.in, m, err, s.stopped)
		}
	}
	s := &script{in: []any{item{1}, no, item{2}}}
	if _, err := s.run(t, func(items iter.Seq2[*item, error]) {
		for v, err := range items {
			if (err == nil) != (v != nil) || err == nil && v.ID != 1 {
				t.Error(v, err)
			}
		}
	}); err != nil || len(s.in) != 1 {
		t.Error(err, s.in)
	}
	if m, err := new(script).run(t, func(i item, s *stream) string { return s.items[0] + fmt.Sprint(i.ID) }); m != "stream7" || err != nil {
		t.Error(m, err)
	}
	if m, err := new(script).run(t, func(r io.Reader) ([]byte, error) { return io.ReadAll(r) }); string(m.([]byte)) != "read" || err != nil {
		t.Error(m, err)
	}
}

// closer is a reader that tells whether it was closed.
type closer struct {
	io.Reader
	closed *int
}

func (c closer) Close() error { *c.closed++; return nil }

func TestBindSendsItems(t *testing.T) {
	no, closed := errors.New("no"), 0
	abc := func() closer { return closer{strings.NewReader("abc"), &closed} }
	seq := func(items ...any) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for _, v := range items {
				err, _ := v.(error)
				if !yield(v, err) {
					return
				}
			}
			yield("after", nil)
		}
	}
	for i, tt := range []struct {
		fn     any
		most   int
		out    string
		err    error
		closed int
	}{
		{func() iter.Seq2[any, error] { return seq(1, "a", nil) }, 0, "[1 a <nil> after]", nil, 0},
		{func() iter.Seq2[any, error] { return seq(1, no, 2) }, 0, "[1]", no, 0},
		{func() iter.Seq2[any, error] { return seq(1, 2, 3) }, 2, "[1 2]", errGone, 0},
		{func() iter.Seq2[any, error] { return nil }, 0, "[]", nil, 0},
		{func() (iter.Seq2[any, error], error) { return seq(1), no }, 0, "[]", no, 0},
		{func() iter.Seq2[*item, error] { return func(yield func(*item, error) bool) { yield(nil, nil) } }, 0, "[<nil>]", nil, 0},
		{func() io.Reader { return strings.NewReader("abc") }, 0, "[bytes:abc]", nil, 0},
		{func() io.Reader { return nil }, 0, "[]", nil, 0},
		{func() *strings.Reader { return nil }, 0, "[]", nil, 0},
		{abc, 0, "[bytes:abc]", nil, 1},
		{func() any { return abc() }, 0, "[bytes:abc]", nil, 1},
		{func() (io.ReadCloser, error) { return abc(), nil }, 0, "[bytes:abc]", nil, 1},
		{func() fmt.Stringer { return nil }, 0, "[]", nil, 0},
	} {
		s := &script{most: tt.most}
		closed = 0
		m, err := s.run(t, tt.fn)
		if out := fmt.Sprint(s.out); out != tt.out || m != nil || err != tt.err || closed != tt.closed {
			t.Errorf("%d, %T: %s, %v, %v, closed %d times", i, tt.fn, out, m, err, closed)
		}
	}
}

// TestYieldAfterFailure: a sequence that goes on though it was told to stop sends nothing more.
func TestYieldAfterFailure(t *testing.T) {
	s := &script{most: 1}
	_, err := s.run(t, func() iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range 5 {
				if yield(i, nil) != (i == 0) {
					t.Errorf("yield %d", i)
				}
			}
		}
	})
	if err != errGone || len(s.out) != 1 {
		t.Error(err, s.out)
	}
}

func TestPanicInItems(t *testing.T) {
	s := new(script)
	defer func() {
		if r := recover(); r != "x" || len(s.out) != 1 {
			t.Error(r, s.out)
		}
	}()
	_, _ = s.run(t, func() iter.Seq2[int, error] {
		return func(yield func(int, error) bool) { yield(1, nil); panic("x") }
	})
}
