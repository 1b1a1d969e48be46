package flyrpc

import (
	"context"
	"slices"
	"testing"
)

// calc has methods of every kind.
type calc struct{ base int }

func (c *calc) Add(_ *Context, m *testMessage) (int, error)        { return c.base + m.ID, nil }
func (c calc) Base(context.Context) int                            { return c.base }
func (c *calc) Text(_ context.Context, _ *Packet, s string) string { return s }
func (c *calc) Sum(int, int) int                                   { return 0 }
func (c *calc) Reset()                                             { c.base = 0 }
func (c *calc) hidden(*Context)                                    {}

// bad has a method that can be no handler.
type bad struct{}

func (bad) Good(*Context)            {}
func (bad) Wrong(*Context, chan int) {}

// plain has no method with a context; its pointer has one.
type plain struct{}

func (plain) Size(int) int { return 0 }
func (plain) Close() error { return nil }
func (*plain) Do(*Context) {}

// local has no method at all.
type local int

func TestRegister(t *testing.T) {
	r := NewRouter()
	c := &calc{base: 40}
	c.hidden(nil)
	got := r.Group("/v1", mark("m", nil)).Register("/calc", c)
	if want := []string{"/v1/calc/Add", "/v1/calc/Base", "/v1/calc/Text"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if m, err := serve(t, r, "/v1/calc/Add", []byte(`{"ID":2}`), encodedBody); m != "m(42)" || err != nil {
		t.Errorf("Add: %v, %v", m, err)
	}
	if got := serveText(t, r, "/v1/calc/Base", ""); got != "m(40)" {
		t.Errorf("Base: %s", got)
	}
	if got := serveText(t, r, "/v1/calc/Text", "hi"); got != "m(hi)" {
		t.Errorf("Text: %s", got)
	}
	for prefix, want := range map[string]string{"": "/Base", "/": "/Base", "calc": "calc/Base", "/c/": "/c/Base", "/{id}": "/{id}/Base"} {
		if got := NewRouter().Register(prefix, *c); !slices.Equal(got, []string{want}) {
			t.Errorf("Register(%q) = %q, want %q", prefix, got, want)
		}
	}
}

func TestRegisterPanics(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/taken/Text", func() {})
	tests := []struct {
		prefix string
		value  any
		parts  []string
	}{
		{"/x", nil, []string{`flyrpc: Register("/x", nil) at `, "register_test.go:", "the value is nil"}},
		{"/x", (*calc)(nil), []string{`Register("/x", *flyrpc.calc)`, "the value is nil"}},
		{"/x", local(1), []string{"no method to register: flyrpc.local has no exported method"}},
		{"/x", plain{}, []string{
			"no method to register: ", "Close has no parameter; ", "the first parameter of Size is int; ",
			"Do is a method of *flyrpc.plain, so register a pointer; ", "the first parameter must be *flyrpc.Context or context.Context",
		}},
		{"/x", bad{}, []string{`Register("/x", flyrpc.bad)`, "method Wrong, func(*flyrpc.Context, chan int): ", "a channel can be no message"}},
		{"/taken", &calc{}, []string{
			`Register("/taken", *flyrpc.calc)`, `the path "/taken/Text" is that of OnMessage("/taken/Text", func()) at `, "register_test.go:",
		}},
		{"fly.", &calc{}, []string{`Register("fly."`, "reserved"}},
	}
	for _, tt := range tests {
		wantPanic(t, func() { r.Register(tt.prefix, tt.value) }, tt.parts...)
	}
	if n := len(r.Routes()); n != 1 {
		t.Errorf("%d routes", n)
	}
}
