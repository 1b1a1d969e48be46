package flyrpc

import (
	"context"
	"slices"
	"testing"
)

// calcMethods has methods of every kind.
type calcMethods struct{ base int }

func (c *calcMethods) Add(_ *Context, m *testMessage) (int, error)        { return c.base + m.ID, nil }
func (c calcMethods) Base(context.Context) int                            { return c.base }
func (c *calcMethods) Text(_ context.Context, _ *Packet, s string) string { return s }
func (c *calcMethods) Sum(int, int) int                                   { return 0 }
func (c *calcMethods) Reset()                                             { c.base = 0 }
func (c *calcMethods) hidden(*Context)                                    {}

// badMethods has a method that can be no handler.
type badMethods struct{}

func (badMethods) Good(*Context)            {}
func (badMethods) Wrong(*Context, chan int) {}

// plainMethods has no method with a context; its pointer has one.
type plainMethods struct{}

func (plainMethods) Size(int) int { return 0 }
func (plainMethods) Close() error { return nil }
func (*plainMethods) Do(*Context) {}

// noMethods has no method at all.
type noMethods int

func TestRegister(t *testing.T) {
	r := NewRouter()
	c := &calcMethods{base: 40}
	c.hidden(nil)
	got := r.Group("/v1", marked("m", nil)).Register("/calc", c)
	if want := []string{"/v1/calc/Add", "/v1/calc/Base", "/v1/calc/Text"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if m, err := serveOn(t, r, "/v1/calc/Add", []byte(`{"ID":2}`), encodedBody); m != "m(42)" || err != nil {
		t.Errorf("Add: %v, %v", m, err)
	}
	if got := serveTextOn(t, r, "/v1/calc/Base", ""); got != "m(40)" {
		t.Errorf("Base: %s", got)
	}
	if got := serveTextOn(t, r, "/v1/calc/Text", "hi"); got != "m(hi)" {
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
		{"/x", (*calcMethods)(nil), []string{`Register("/x", *flyrpc.calcMethods)`, "the value is nil"}},
		{"/x", noMethods(1), []string{"no method to register: flyrpc.noMethods has no exported method"}},
		{"/x", plainMethods{}, []string{
			"no method to register: ", "Close has no parameter; ", "the first parameter of Size is int; ",
			"Do is a method of *flyrpc.plainMethods, so register a pointer; ", "the first parameter must be *flyrpc.Context or context.Context",
		}},
		{"/x", new(noMethods), []string{"no method to register: *flyrpc.noMethods has no exported method"}},
		{"/x", badMethods{}, []string{`Register("/x", flyrpc.badMethods)`, "method Wrong, func(*flyrpc.Context, chan int): ", "a channel can be no message"}},
		{"/taken", &calcMethods{}, []string{
			`Register("/taken", *flyrpc.calcMethods)`, `the path "/taken/Text" is that of OnMessage("/taken/Text", func()) at `, "register_test.go:",
		}},
		{"fly.", &calcMethods{}, []string{`Register("fly."`, "reserved"}},
	}
	for _, tt := range tests {
		wantPanic(t, func() { r.Register(tt.prefix, tt.value) }, tt.parts...)
	}
	if n := len(r.Routes()); n != 1 {
		t.Errorf("%d routes", n)
	}
}
