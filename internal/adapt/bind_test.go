package adapt

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func testSource() Source[*call, *frame, *stream] {
	return Source[*call, *frame, *stream]{
		Decode: func(c *call, v any) error {
			if c.err != nil {
				return c.err
			}
			if s, ok := v.(*string); ok {
				*s = string(c.body)
				return nil
			}
			return json.Unmarshal(c.body, v)
		},
		Packet: func(c *call) *frame { return &frame{payload: c.body} },
		Body:   func(c *call) []byte { return c.body },
	}
}

// bind makes a call of fn.
func bind(t testing.TB, fn any) func(*call) (any, error) {
	t.Helper()
	v := reflect.ValueOf(fn)
	p, err := New(v, testTypes())
	if err != nil {
		t.Fatal(err)
	}
	return Bind(p, v, testSource())
}

func newCall(body string) *call {
	return &call{Context: context.Background(), body: []byte(body)}
}

func TestBindFillsEveryKind(t *testing.T) {
	c := newCall(`{"ID":7}`)
	ran := false
	f := bind(t, func(text string, i item, c1 *call, ctx context.Context, p *frame, raw []byte, c2 *call) {
		ran = true
		if text != `{"ID":7}` || string(raw) != text || string(p.payload) != text || i.ID != 7 {
			t.Errorf("got %q, %q, %q, %v", text, raw, p.payload, i)
		}
		if c1 != c || c2 != c || ctx != context.Context(c) {
			t.Error("another context")
		}
	})
	if m, err := f(c); m != nil || err != nil || !ran {
		t.Errorf("got %v, %v, %v", m, err, ran)
	}
	f = bind(t, func(i *item) int { return i.ID })
	if m, err := f(c); m != 7 || err != nil {
		t.Errorf("got %v, %v", m, err)
	}
	f = bind(t, func(a, b string) string { return a + b })
	if m, err := f(newCall("x")); m != "xx" || err != nil {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestBindDoesNotCallWithoutMessage(t *testing.T) {
	c := newCall("")
	c.err = errors.New("no")
	for _, fn := range []any{func(*item) { t.Error("called") }, func(item) { t.Error("called") }, func(string) { t.Error("called") }} {
		if m, err := bind(t, fn)(c); m != nil || err != c.err {
			t.Errorf("%T: %v, %v", fn, m, err)
		}
	}
}

func TestBindResults(t *testing.T) {
	no := errors.New("no")
	tests := []struct {
		fn   any
		want any
		err  error
	}{
		{func() error { return nil }, nil, nil},
		{func() error { return no }, nil, no},
		{func() (*item, error) { return &item{1}, no }, nil, no},
		{func() (item, error) { return item{1}, nil }, item{1}, nil},
		{func() *item { return nil }, nil, nil},
		{func() any { return nil }, nil, nil},
		{func() lister { return nil }, nil, nil},
		{func() any { return "text" }, "text", nil},
		{func() []byte { return nil }, []byte(nil), nil},
		{func() map[string]int { return nil }, map[string]int(nil), nil},
	}
	for _, tt := range tests {
		m, err := bind(t, tt.fn)(newCall(""))
		if !reflect.DeepEqual(m, tt.want) || err != tt.err {
			t.Errorf("%T: %#v, %v; want %#v, %v", tt.fn, m, err, tt.want, tt.err)
		}
	}
}

func TestBindMethodAndPanic(t *testing.T) {
	fn := reflect.ValueOf(fault{}).MethodByName("Fail")
	p, err := New(fn, testTypes())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := recover(); r != "x" {
			t.Errorf("recovered %v", r)
		}
	}()
	_, _ = Bind(p, fn, testSource())(newCall("x"))
	t.Error("no panic")
}

func (fault) Fail(text string) { panic(text) }

func BenchmarkBind(b *testing.B) {
	c := newCall("x")
	reply := new(item)
	for _, bb := range []struct {
		name string
		fn   any
	}{
		{"none", func() {}},
		{"contexts", func(*call, *call) error { return nil }},
		{"std", func(context.Context) error { return nil }},
		{"reply", func(*call) (*item, error) { return reply, nil }},
		{"reply_only", func(*call) *item { return reply }},
	} {
		f := bind(b, bb.fn)
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = f(c)
			}
		})
	}
}
