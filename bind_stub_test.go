package flyrpc

import (
	"context"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// badField is a stub of one field, what Bind's error says of it, and of what may be.
type badField struct {
	stub any
	want []string
}

func badFields() []badField {
	const params, results = "takes context.Context, then at most one message", "returns error, (Reply, error), or iter.Seq2[Out, error] alone"
	return []badField{
		{new(struct {
			F func(context.Context) error `fly:""`
		}), []string{"path is empty"}},
		{new(struct {
			F func(context.Context) error `fly:",oneway"`
		}), []string{"path is empty"}},
		{new(struct {
			F func(context.Context) error `fly:"/x,once"`
		}), []string{`"once"`, "only oneway"}},
		{new(struct {
			F func(context.Context) error `fly:"/x,"`
		}), []string{`option ""`}},
		{new(struct {
			F func(context.Context) error `fly:"/x\x00y"`
		}), []string{"zero byte"}},
		{new(struct {
			f func(context.Context) error `fly:"/x"`
		}), []string{"must be exported"}},
		{new(struct {
			inner struct {
				F func(context.Context) error `fly:"/x"`
			}
		}), []string{"inner.F", "must be exported"}},
		{new(struct {
			F struct{} `fly:"/x"`
		}), []string{"it is struct {}", "must be a func"}},
		{new(struct {
			F *func(context.Context) error `fly:"/x"`
		}), []string{"it is *func(context.Context) error", "must be a func"}},
		{new(struct {
			F func() error `fly:"/x"`
		}), []string{"func() error", "first parameter isn't context.Context", params}},
		{new(struct {
			F func(string, context.Context) error `fly:"/x"`
		}), []string{"first parameter", params}},
		{new(struct {
			F func(*Context) error `fly:"/x"`
		}), []string{"first parameter", params}},
		{new(struct {
			F func(context.Context, ...string) error `fly:"/x"`
		}), []string{"variadic", params}},
		{new(struct {
			F func(context.Context, int, int) error `fly:"/x"`
		}), []string{"takes 2 messages", params}},
		{new(struct {
			F func(context.Context, int, int, iter.Seq[int]) error `fly:"/x"`
		}), []string{"takes 2 messages", params}},
		{new(struct {
			F func(context.Context, context.Context) error `fly:"/x"`
		}), []string{"parameter 2 is context.Context", "a context", params}},
		{new(struct {
			F func(context.Context, chan int) error `fly:"/x"`
		}), []string{"parameter 2 is chan int", "a channel", params}},
		{new(struct {
			F func(context.Context, *func()) error `fly:"/x"`
		}), []string{"parameter 2 is *func()", "a function", params}},
		{new(struct {
			F func(context.Context, iter.Seq[int], int) error `fly:"/x"`
		}), []string{"parameter 2 is", "a function", "iter.Seq[In] last"}},
		{new(struct {
			F func(context.Context, iter.Seq2[int, error]) error `fly:"/x"`
		}), []string{"parameter 2 is iter.Seq2", "iter.Seq[In] last"}},
		{new(struct {
			F func(context.Context, iter.Seq[chan int]) error `fly:"/x"`
		}), []string{"sends items of chan int", "a channel", params}},
		{new(struct {
			F func(context.Context) `fly:"/x"`
		}), []string{"0 results", results}},
		{new(struct {
			F func(context.Context) int `fly:"/x"`
		}), []string{"the result is int", results}},
		{new(struct {
			F func(context.Context) *Error `fly:"/x"`
		}), []string{"the result is *flyrpc.Error", results}},
		{new(struct {
			F func(context.Context) iter.Seq[int] `fly:"/x"`
		}), []string{"the result is iter.Seq[int]", results}},
		{new(struct {
			F func(context.Context) iter.Seq2[int, int] `fly:"/x"`
		}), []string{"the result is iter.Seq2[int,int]", results}},
		{new(struct {
			F func(context.Context) iter.Seq2[chan int, error] `fly:"/x"`
		}), []string{"the items are chan int", "a channel", results}},
		{new(struct {
			F func(context.Context) (int, string) `fly:"/x"`
		}), []string{"the second result is string", results}},
		{new(struct {
			F func(context.Context) (error, error) `fly:"/x"`
		}), []string{"both results are errors", results}},
		{new(struct {
			F func(context.Context) (int, int, error) `fly:"/x"`
		}), []string{"3 results", results}},
		{new(struct {
			F func(context.Context) (unsafe.Pointer, error) `fly:"/x"`
		}), []string{"first result is unsafe.Pointer", results}},
		{new(struct {
			F func(context.Context) (iter.Seq2[int, error], error) `fly:"/x"`
		}), []string{"first result is iter.Seq2", "a function", results}},
		{new(struct {
			F func(context.Context) (io.ReadSeeker, error) `fly:"/x"`
		}), []string{"io.ReadSeeker", "io.Reader or io.ReadCloser"}},
		{new(struct {
			F func(context.Context) (*io.Reader, error) `fly:"/x"`
		}), []string{"*io.Reader", "io.Reader or io.ReadCloser"}},
		{new(struct {
			F func(context.Context, iter.Seq[int]) (io.Reader, error) `fly:"/x"`
		}), []string{"reply to items", "iter.Seq2[[]byte, error]"}},
		{new(struct {
			F func(context.Context) iter.Seq2[io.Reader, error] `fly:"/x"`
		}), []string{"item that comes", "receive []byte"}},
		{new(struct {
			F func(context.Context, io.Reader) iter.Seq2[int, error] `fly:"/x"`
		}), []string{"beside items"}},
		{new(struct {
			F func(context.Context, io.ReadSeeker, iter.Seq[int]) error `fly:"/x"`
		}), []string{"beside items"}},
		{new(struct {
			F func(context.Context, *strings.Reader) error `fly:"/x,oneway"`
		}), []string{"one-way message can't be an io.Reader"}},
		{new(struct {
			F func(context.Context) (int, error) `fly:"/x,oneway"`
		}), []string{"one-way message isn't answered"}},
		{new(struct {
			F func(context.Context, iter.Seq[int]) error `fly:"/x,oneway"`
		}), []string{"one-way message isn't answered"}},
		{new(struct {
			F func(context.Context) iter.Seq2[int, error] `fly:"/x,oneway"`
		}), []string{"one-way message isn't answered"}},
	}
}

// bindNothing has no field to bind.
type bindNothing struct {
	F func(context.Context) error
	P *bindParts // not walked
}

func TestBindBadStubs(t *testing.T) {
	cli := NewClient("nowhere", nil)
	defer cli.Close()
	for _, tt := range badFields() {
		err := Bind(cli, tt.stub)
		if err == nil {
			t.Errorf("%T: no error", tt.stub)
			continue
		}
		typ := reflect.TypeOf(tt.stub).Elem()
		for _, want := range append(tt.want, "flyrpc: Bind: "+typ.String()+"."+typ.Field(0).Name) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%T: no %q in %v", tt.stub, want, err)
			}
		}
		if v := reflect.ValueOf(tt.stub).Elem(); !v.IsZero() {
			t.Errorf("%T: a field is set", tt.stub)
		}
	}
	for _, tt := range []struct {
		c    Caller
		stub any
		want string
	}{
		{nil, new(bindStub), "the Caller is nil"},
		{cli, nil, "the stub is <nil> and must be a pointer to a struct"},
		{cli, bindStub{}, "the stub is flyrpc.bindStub and must be"},
		{cli, new(int), "the stub is *int and must be"},
		{cli, (*bindStub)(nil), "a nil *flyrpc.bindStub"},
		{cli, new(bindNothing), "no field of flyrpc.bindNothing has a tag"},
	} {
		if err := Bind(tt.c, tt.stub); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%T: %v; want %s", tt.stub, err, tt.want)
		}
	}
}

// TestBindSetsNothing: the good fields before a bad one, and what they held, stay as they were.
func TestBindSetsNothing(t *testing.T) {
	cli := NewClient("nowhere", nil)
	defer cli.Close()
	var stub struct {
		bindParts
		Good func(context.Context) error `fly:"/good"`
		Bad  func()                      `fly:"/bad"`
	}
	held := 0
	stub.Good = func(context.Context) error { held++; return nil }
	err := Bind(cli, &stub)
	if err == nil || !strings.Contains(err.Error(), `.Bad, tagged "/bad": it is func()`) {
		t.Errorf("the error is %v", err)
	}
	if stub.Raw != nil || stub.Good(t.Context()) != nil || held != 1 {
		t.Error("a field was set")
	}
}
