package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

type (
	testMessage struct{ ID int }
	testReply   struct{ Name string }
)

// paramCase is a type of parameter, and how to tell that one was filled well.
type paramCase struct {
	typ     reflect.Type
	message bool
	good    func(v reflect.Value, ctx *Context, decoded bool) bool
}

// resultCase is a type of message that a function returns, with values for it.
type resultCase struct {
	typ    reflect.Type
	values []any // what is returned; nil for the zero value
	want   []any // what the Handler makes of it
}

const testID = 7

func paramCases() []paramCase {
	text := func(ctx *Context, decoded bool) string {
		if decoded {
			return "text"
		}
		return string(ctx.Packet().Payload)
	}
	isMessage := func(v reflect.Value) bool { return v.Interface() == testMessage{testID} }
	return []paramCase{
		{reflect.TypeFor[*Context](), false, func(v reflect.Value, ctx *Context, _ bool) bool { return v.Interface() == any(ctx) }},
		{reflect.TypeFor[context.Context](), false, func(v reflect.Value, ctx *Context, _ bool) bool { return v.Interface() == any(ctx) }},
		{reflect.TypeFor[*Packet](), false, func(v reflect.Value, ctx *Context, _ bool) bool {
			return reflect.DeepEqual(v.Interface(), ctx.Packet())
		}},
		{reflect.TypeFor[[]byte](), false, func(v reflect.Value, ctx *Context, d bool) bool { return string(v.Bytes()) == text(ctx, d) }},
		{reflect.TypeFor[string](), false, func(v reflect.Value, ctx *Context, d bool) bool { return v.String() == text(ctx, d) }},
		{reflect.TypeFor[*testMessage](), true, func(v reflect.Value, _ *Context, _ bool) bool { return isMessage(v.Elem()) }},
		{reflect.TypeFor[testMessage](), true, func(v reflect.Value, _ *Context, _ bool) bool { return isMessage(v) }},
		{reflect.TypeFor[map[string]int](), true, func(v reflect.Value, _ *Context, _ bool) bool {
			return v.Interface().(map[string]int)["ID"] == testID
		}},
		{reflect.TypeFor[any](), true, func(v reflect.Value, _ *Context, _ bool) bool {
			return v.Interface().(map[string]any)["ID"] == float64(testID)
		}},
	}
}

func resultCases() []resultCase {
	reply := &testReply{"Ada"}
	return []resultCase{
		{reflect.TypeFor[*testReply](), []any{reply, nil}, []any{reply, nil}},
		{reflect.TypeFor[testReply](), []any{*reply}, []any{*reply}},
		{reflect.TypeFor[[]byte](), []any{[]byte("x"), nil}, []any{[]byte("x"), []byte(nil)}},
		{reflect.TypeFor[string](), []any{"x", ""}, []any{"x", ""}},
		{reflect.TypeFor[map[string]int](), []any{nil}, []any{map[string]int(nil)}},
		{reflect.TypeFor[[]testReply](), []any{nil}, []any{[]testReply(nil)}},
		{reflect.TypeFor[any](), []any{reply, "x", nil}, []any{reply, "x", nil}},
		{reflect.TypeFor[fmt.Stringer](), []any{Unknown, nil}, []any{Unknown, nil}},
	}
}

// sequences yields every sequence of at most n of the cases.
func sequences(n int, yield func([]paramCase)) {
	var extend func(seq []paramCase)
	extend = func(seq []paramCase) {
		yield(seq)
		if len(seq) == n {
			return
		}
		for _, c := range paramCases() {
			extend(append(seq[:len(seq):len(seq)], c))
		}
	}
	extend(nil)
}

// shapeTest is one type of function that is tried.
type shapeTest struct {
	t      *testing.T
	params []paramCase
	typ    reflect.Type
	ctx    *Context
	calls  int
	out    []reflect.Value // what the function returns
}

// TestEveryShape runs functions of every sequence of at most three parameters with
// every kind of results.
func TestEveryShape(t *testing.T) {
	shapes := 0
	errType := reflect.TypeFor[error]()
	sequences(3, func(params []paramCase) {
		var in []reflect.Type
		for _, c := range params {
			in = append(in, c.typ)
		}
		try := func(out ...reflect.Type) *shapeTest {
			shapes++
			return &shapeTest{t: t, params: params, typ: reflect.FuncOf(in, out, false)}
		}
		try().run(nil, nil)
		try(errType).runErrors(nil, nil)
		for _, rc := range resultCases() {
			for i, v := range rc.values {
				value := reflect.Zero(rc.typ)
				if v != nil {
					value = reflect.ValueOf(v)
				}
				try(rc.typ).run([]reflect.Value{value}, rc.want[i])
				try(rc.typ, errType).runErrors([]reflect.Value{value}, rc.want[i])
			}
		}
	})
	if want := (1 + 9 + 81 + 729) * 30; shapes != want {
		t.Errorf("%d shapes, want %d", shapes, want)
	}
}

// runErrors runs a function whose last result is an error: without and with one.
func (s *shapeTest) runErrors(out []reflect.Value, want any) {
	s.run(append(out[:len(out):len(out)], reflect.Zero(reflect.TypeFor[error]())), want)
	s.run(append(out[:len(out):len(out)], reflect.ValueOf(Forbidden)), Forbidden)
}

// run makes a Handler of the function and calls it; want is its message or its error.
func (s *shapeTest) run(out []reflect.Value, want any) {
	s.out, s.calls = out, 0
	messages, bodies := 0, false
	for _, c := range s.params {
		if c.message {
			messages++
		}
		bodies = bodies || c.typ.Kind() == reflect.Slice || c.typ.Kind() == reflect.String
	}
	h, _, err := newHandler(reflect.MakeFunc(s.typ, s.call(messages == 0)).Interface())
	if messages > 1 {
		if err == nil || !strings.Contains(err.Error(), "two messages") {
			s.t.Errorf("%s: %v", s.typ, err)
		}
		return
	}
	if err != nil {
		s.t.Errorf("%s: %v", s.typ, err)
		return
	}
	s.ctx = newTestContext(s.t, "/x", []byte(`{"ID":7}`), encodedBody, stdJSON())
	if messages == 0 && bodies {
		s.ctx = newTestContext(s.t, "/x", []byte("text"), textBody, stdJSON())
	}
	m, err := h(s.ctx)
	if want == any(Forbidden) {
		m, err, want = err, nil, error(Forbidden)
	}
	if err != nil || !reflect.DeepEqual(m, want) || s.calls != 1 {
		s.t.Errorf("%s = %#v, %v in %d calls; want %#v", s.typ, m, err, s.calls, want)
	}
	s.runUndecodable(h, messages > 0 || bodies)
}

// runUndecodable calls the Handler with a body that can be no message.
func (s *shapeTest) runUndecodable(h Handler, decodes bool) {
	if !decodes {
		return
	}
	s.calls = 0
	m, err := h(newTestContext(s.t, "/x", []byte(`{"ID"`), encodedBody, stdJSON()))
	if m != nil || !errors.Is(err, BadRequest) || s.calls != 0 {
		s.t.Errorf("%s = %#v, %v in %d calls; want %v", s.typ, m, err, s.calls, BadRequest)
	}
}

// call returns the body of the function, which looks at its arguments.
func (s *shapeTest) call(decoded bool) func([]reflect.Value) []reflect.Value {
	return func(args []reflect.Value) []reflect.Value {
		s.calls++
		for i, c := range s.params {
			if !c.good(args[i], s.ctx, decoded) {
				s.t.Errorf("%s: parameter %d is %#v", s.typ, i+1, args[i])
			}
		}
		out := make([]reflect.Value, len(s.out))
		for i, v := range s.out {
			out[i] = v.Convert(s.typ.Out(i))
		}
		return out
	}
}

func TestRawMessages(t *testing.T) {
	text := func(s string) (string, error) { return s, nil }
	raw := func(b []byte) ([]byte, error) { return b, nil }
	tests := []struct {
		h    any
		data string
		kind bodyKind
		want any
	}{
		{text, "hi", textBody, "hi"},
		{text, "hi", bytesBody, "hi"},
		{text, `"hi"`, encodedBody, "hi"},
		{text, "", encodedBody, ""},
		{raw, "hi", textBody, []byte("hi")},
		{raw, "hi", bytesBody, []byte("hi")},
		{raw, `"aGk="`, encodedBody, []byte("hi")},
		{raw, "", encodedBody, []byte(nil)},
		{func(v any) any { return v }, "hi", textBody, "hi"},
		{func(v any) any { return v }, "hi", bytesBody, []byte("hi")},
		{func(v any) any { return v }, "7", encodedBody, 7.0},
		{func(v any) any { return v }, "", encodedBody, nil},
		{func(m *testMessage) *testMessage { return m }, "", encodedBody, new(testMessage)},
		{func(m testMessage, s string) string { return fmt.Sprint(m.ID) + s }, `{"ID":1}`, encodedBody, `1{"ID":1}`},
	}
	for _, tt := range tests {
		h, _, err := newHandler(tt.h)
		if err != nil {
			t.Fatal(err)
		}
		m, err := h(newTestContext(t, "/x", []byte(tt.data), tt.kind, stdJSON()))
		if err != nil || !reflect.DeepEqual(m, tt.want) {
			t.Errorf("%T(%s %q) = %#v, %v; want %#v", tt.h, tt.kind, tt.data, m, err, tt.want)
		}
	}
}

// TestDirectHandlers lists the types that are called without reflection.
func TestDirectHandlers(t *testing.T) {
	for _, h := range []any{
		func() {}, func() error { return nil }, func(*Context) {}, func(*Context) error { return nil },
		func(*Context) (any, error) { return nil, nil }, Handler(func(*Context) (any, error) { return nil, nil }),
		func(context.Context) error { return nil }, func(*Packet) error { return nil },
		func(string) {}, func(string) error { return nil }, func(*Context, string) error { return nil },
		func(string) (string, error) { return "", nil }, func(*Context, string) (string, error) { return "", nil },
		func([]byte) {}, func([]byte) error { return nil }, func(*Context, []byte) error { return nil },
		func([]byte) ([]byte, error) { return nil, nil }, func(*Context, []byte) ([]byte, error) { return nil, nil },
	} {
		if directHandler(h) == nil {
			t.Errorf("%T is called by reflection", h)
		}
	}
	if directHandler(func(*Context, *testMessage) error { return nil }) != nil {
		t.Error("a Handler for a type that isn't known")
	}
}
