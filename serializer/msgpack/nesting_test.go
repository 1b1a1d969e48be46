package msgpack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/go-flyrpc/flyrpc/serializer"
)

type (
	// link can refer to others in every way.
	link struct {
		N   int
		P   *link
		S   []*link
		M   map[string]*link
		K   map[any]int
		A   any
		Arr [1]any
		any2
		anys
	}
	any2 struct{ E any }
	anys []any

	// parent leads to itself only in ways that are not encoded.
	parent struct {
		Self  *parent `msgpack:"-"`
		JSON  *parent `json:"-"`
		self  *parent
		Coder *coder
		Bytes []byter
		Text  texts
		When  time.Time
		Err   error
	}
	coder struct{ In any }
	byter struct{ In any }
	texts map[string]any
	wrong struct{ In any }

	inlined struct {
		*Inlined
		X int
	}
	Inlined  inlined
	outlined struct {
		*outlined `msgpack:",noinline"`
		X         int
	}
	toItself *toItself
)

func (coder) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeInt(1) }
func (*byter) MarshalMsgpack() ([]byte, error)       { return []byte{2}, nil }
func (texts) MarshalText() ([]byte, error)           { return []byte("3"), nil }
func (*wrong) Error() string                         { return "wrong" }

func encodeErr(v any) string {
	out, err := Serializer.Encode([]byte("before"), v)
	if err == nil {
		return ""
	}
	if string(out) != "before" || !strings.HasPrefix(err.Error(), fmt.Sprintf("msgpack: cannot encode %T: ", v)) {
		return fmt.Sprintf("%q, %v", out, err)
	}
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("msgpack: cannot encode %T: ", v))
}

func TestCycles(t *testing.T) {
	m := map[string]any{}
	m["x"] = m
	s := []any{1, nil}
	s[1] = s
	l := &list{}
	l.Next = &list{Next: l}
	var x any
	x = &x
	values := []any{m, s, l, *l, &l, x, [1]any{m}, map[int][]any{1: s}}
	for _, set := range []func(from, to *link){
		func(from, to *link) { from.P = to },
		func(from, to *link) { from.S = []*link{nil, to} },
		func(from, to *link) { from.M = map[string]*link{"to": to} },
		func(from, to *link) { from.K = map[any]int{5: 1, to: 2} },
		func(from, to *link) { from.A = map[any]any{to: nil} },
		func(from, to *link) { from.A = to },
		func(from, to *link) { from.Arr[0] = to },
		func(from, to *link) { from.E = to },
		func(from, to *link) { from.anys = []any{to} },
		func(from, to *link) { from.A = msgpack.RawMessage{0xc0}; from.anys = []any{map[int]any{1: to}} },
	} {
		var a, b link
		set(&a, &b)
		if got := encodeErr(&a); got != "" {
			t.Errorf("%+v: %s", a, got)
		}
		set(&b, &a)
		values = append(values, &a, b, []any{&a}, map[string]link{"b": b})
	}
	for _, v := range values {
		if got := encodeErr(v); !strings.HasPrefix(got, "the value contains itself, by way of a ") {
			t.Errorf("%T: %s", v, got)
		}
	}
}

func TestNoCycles(t *testing.T) {
	p := &parent{Coder: &coder{}, Bytes: []byter{{}}, Text: texts{}, Err: &wrong{}}
	p.Self, p.JSON, p.self, p.Coder.In, p.Bytes[0].In, p.Text["in"], p.Err.(*wrong).In = p, p, p, p, p, p, p
	for _, v := range []any{p, *p, p.self, []any{p, p}, map[string]any{"p": p}, outlined{&outlined{}, 1}, (*inlined)(nil), struct{ In *inlined }{}} {
		if got := encodeErr(v); got != "" {
			t.Errorf("%T: %s", v, got)
		}
	}
}

// TestEndless is about types that the library can't get to the end of.
func TestEndless(t *testing.T) {
	for _, v := range []any{inlined{}, &inlined{X: 1}, []any{inlined{}}, toItself(nil), Inlined{}, struct{ P toItself }{}} {
		if got := encodeErr(v); !strings.HasSuffix(got, " embeds or points to itself") {
			t.Errorf("%T: %s", v, got)
		}
	}
}

func TestDeep(t *testing.T) {
	s := New(serializer.Limits{Depth: serializer.MaxDepth})
	var slices, maps, odd any
	for range serializer.MaxDepth {
		slices, maps, odd = []any{slices}, map[string]any{"": maps}, map[any]any{"": odd}
	}
	for _, v := range []any{newList(serializer.MaxDepth), slices, maps, odd} {
		data, err := s.Encode(nil, v)
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		if err := s.Decode(data, new(any)); err != nil {
			t.Errorf("%T comes back as: %v", v, err)
		}
		for _, v := range []any{[]any{v}, struct{ V any }{v}} {
			if got := encodeErr(v); !strings.HasPrefix(got, "the value is nested deeper than 10000 levels") {
				t.Errorf("%T with one level more: %v", v, got)
			}
		}
	}
	if encodeErr(newList(1_000_000)) == "" {
		t.Error("a list of a million")
	}
}
