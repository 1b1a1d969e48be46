package nesting

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

type marshaler interface{ Marshal() }

type (
	list  struct{ Next *list }
	names []string
	tree  struct {
		Name     names
		Children []*tree
		parent   *tree
		Skipped  *tree `nesting:"-"`
	}
	byKey    map[string]byKey
	nested   []nested
	arrayed  struct{ In [2]*arrayed }
	pointer  *pointer
	keyed    map[any]bool
	embedder struct {
		*inner
		anys
	}
	inner  struct{ Out *embedder }
	anys   []any
	own    struct{ In any }
	ownRef struct {
		In   any
		List []ownRef
	}
	plain struct {
		A []int
		B map[string]*[3]struct{ C *float64 }
		D chan any
		E own
		F marshaler
		g any
	}
	endless struct {
		*Middle
		A int
	}
	Middle struct{ *endless } // exported, as they are looked at by reflection alone
	twice  struct {
		one
		two
		Next *twice
	}
	one    struct{ common }
	two    struct{ common }
	common struct{ A any }
)

func (own) Marshal()     {}
func (*ownRef) Marshal() {}

func rules(depth int) Rules {
	return Rules{
		Depth:  depth,
		Custom: func(t reflect.Type) bool { return t.Implements(reflect.TypeFor[marshaler]()) },
		Field: func(f reflect.StructField) (encoded, inlined bool) {
			return f.Tag.Get("nesting") != "-", f.Anonymous && f.Type.Kind() != reflect.Slice
		},
		Keys: true,
	}
}

func newList(n int, end *list) *list {
	l := end
	for range n {
		l = &list{l}
	}
	return l
}

// cycles are values that contain themselves, one way each.
func cycles() map[string]any {
	l := new(list)
	l.Next = newList(5, l)
	root := &tree{Children: []*tree{nil, {}}}
	root.Children[1].Children = []*tree{{}, root}
	m := map[string]any{"a": 1}
	m["m"] = m
	s := []any{1, 2}
	s[1] = s
	k := byKey{}
	k["k"] = k
	n := nested{nil, nil}
	n[1] = n
	a := new(arrayed)
	a.In[1] = a
	var p pointer
	p = &p
	var x any
	x = &x
	key := keyed{}
	key[&key] = true
	e := &embedder{inner: new(inner)}
	e.Out = e
	f := &embedder{anys: make(anys, 1)}
	f.anys[0] = f
	hidden := &embedder{anys: anys{map[int]any{}}}
	hidden.anys[0].(map[int]any)[1] = hidden.anys
	r := ownRef{List: []ownRef{{}}}
	table := map[string]ownRef{}
	table["r"] = ownRef{In: table}
	r.In = table
	return map[string]any{
		"list": l, "list by value": *l, "tree": root, "map": m, "slice": s, "named map": k, "named slice": n, "array": a, "array by value": *a,
		"interface": x, "key": key, "embedded pointer": e, "embedded slice": f, "interfaces in an embedded slice": hidden,
		"far down": newTail(m), "values without an address": r,
	}
}

// newTail returns something with m far down.
func newTail(m any) any {
	for range 100 {
		m = map[int]any{1: []any{"x", &m, m}}
	}
	return m
}

func problem(err error) string {
	var found *Error
	if !errors.As(err, &found) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(ProblemOf(err), " ", found.Type)
}

func TestCycles(t *testing.T) {
	c := New(rules(10_000))
	for name, v := range cycles() {
		if err := c.Check(v); err == nil || ProblemOf(err) != Cycle || !strings.HasPrefix(err.Error(), "the value contains itself, by way of a ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := &list{newList(1, nil)}
	l.Next.Next = l
	if got := problem(c.For(reflect.TypeFor[list]()).Check(reflect.ValueOf(l).Elem())); got != "0 *nesting.list" {
		t.Errorf("by its type: %s", got)
	}
}

func TestFine(t *testing.T) {
	c := New(rules(10_000))
	skipped := new(tree)
	skipped.Skipped, skipped.parent = skipped, skipped
	custom := &own{}
	custom.In = custom
	customRef := &ownRef{}
	customRef.In = customRef
	inSlice := []ownRef{{}}
	inSlice[0].In = inSlice
	shared := []any{1}
	for range 12 {
		shared = []any{shared, shared}
	}
	var none *list
	empty := []any{}
	for _, v := range []any{
		nil, 5, "x", none,
		list{},
		tree{},
		skipped, custom, *custom, customRef, inSlice, shared,
		byKey{},
		byKey(nil),
		nested{},
		empty,
		map[string]any{},
		map[string]any(nil),
		map[string]any{"x": map[string]any{"y": []any{nil, 1.5, plain{}}}},
		map[byKey2]any{{1}: 1},
		&embedder{},
		embedder{inner: &inner{}, anys: anys{nil, "x", list{}}},
		arrayed{},
		keyed{5: true, "x": false, [1]any{1}: true},
		[]any{&twice{}, struct{ E error }{}, struct{ E error }{errors.New("x")}},
		[2][]any{},
		[0]any{},
		&struct{ L list }{}, newList(9_000, nil),
	} {
		if err := c.Check(v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}

type byKey2 [1]int

// TestSameAddress is about pointers that are equal and yet not the same.
func TestSameAddress(t *testing.T) {
	type last struct{ In any }
	type first struct {
		In   last
		Self any
	}
	v := &first{}
	v.Self = &v.In
	v.In.In = [][]any{{1}}
	whole := []any{nil, 1}
	whole[0] = whole[1:]
	for _, v := range []any{v, whole} {
		if err := New(rules(100)).Check(v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
	part := []any{nil, 1}
	part[0] = part[:1]
	if err := New(rules(100)).Check(part); err == nil {
		t.Error("a slice that contains a part of itself with itself in it")
	}
}

func TestEndless(t *testing.T) {
	c := New(rules(100))
	var p pointer
	p = &p
	for _, v := range []any{endless{}, &endless{}, []endless{{}}, []any{Middle{}}, p, pointer(nil)} {
		if err := c.Check(v); err == nil || ProblemOf(err) != Endless || !strings.HasSuffix(err.Error(), " embeds or points to itself") {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func TestDepth(t *testing.T) {
	const max = 50
	c := New(rules(max))
	var slices, maps, texts, structs any
	for range max {
		slices, maps, texts, structs = []any{slices}, map[int]any{1: maps}, map[string]any{"": texts}, &struct{ In any }{structs}
	}
	e := &embedder{}
	for range max - 1 {
		e = &embedder{inner: &inner{e}} // that is one level
	}
	for _, v := range []any{slices, maps, texts, structs, newList(max, nil), e} {
		if err := c.Check(v); err != nil {
			t.Errorf("%T of %d levels: %v", v, max, err)
		}
		want := fmt.Sprintf("the value is nested deeper than %d levels, at a ", max)
		for _, v := range []any{[]any{v}, [1]any{v}, map[string]any{"": v}, map[int]any{1: v}, struct{ V any }{v}} {
			if err := c.Check(v); err == nil || !strings.HasPrefix(err.Error(), want) || ProblemOf(err) != Depth {
				t.Errorf("%T with one level more: %v", v, err)
			}
		}
	}
	var x any
	for range perLevel * max {
		y := x
		x = &y
	}
	if err := c.Check(x); err != nil {
		t.Error(err)
	}
	if err := c.Check(&x); err == nil || ProblemOf(err) != Depth {
		t.Errorf("too many pointers: %v", err)
	}
}

// TestFoundSoon holds that a circle is found a few times its length down the path, so that
// what stands beside it isn't walked once for each of the levels allowed.
func TestFoundSoon(t *testing.T) {
	for lead := range 40 {
		for circle := 1; circle < 40; circle++ {
			end := new(list)
			end.Next = newList(circle-1, end)
			w := walk{checker: New(rules(10_000))}
			if err := w.dynamic(newList(lead, end)); err == nil || ProblemOf(err) != Cycle || w.refs > 4*(lead+circle) {
				t.Errorf("%d and a circle of %d: found after %d: %v", lead, circle, w.refs, err)
			}
		}
	}
}

func TestPlainTypesAreNotWalked(t *testing.T) {
	c := New(rules(100))
	_ = plain{}.g
	for _, typ := range []reflect.Type{
		reflect.TypeFor[plain](), reflect.TypeFor[**plain](), reflect.TypeFor[[]map[string]*plain](), reflect.TypeFor[int](),
		reflect.TypeFor[own](), reflect.TypeFor[[]marshaler](), reflect.TypeFor[func(any) any](), reflect.TypeFor[struct{}](),
	} {
		if c.For(typ) != nil {
			t.Errorf("%v is walked", typ)
		}
	}
	if fields := c.For(reflect.TypeFor[tree]()).fields; len(fields) != 1 || fields[0].index != 1 {
		t.Errorf("of a tree, %+v are walked", fields)
	}
	typ := reflect.TypeFor[plain]()
	if n := testing.AllocsPerRun(10, func() { _ = c.For(typ).Check(reflect.Value{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAllocatesNothing(t *testing.T) {
	c := New(rules(100))
	v := any(map[string]any{"a": []any{1, "x", &tree{Children: []*tree{{}, {}}}}, "b": map[string]any{"c": 1.5}, "l": newList(20, nil)})
	if n := testing.AllocsPerRun(10, func() {
		if err := c.Check(v); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConcurrent(t *testing.T) {
	all := cycles()
	c := New(rules(100))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for name, v := range all {
				if c.Check(v) == nil {
					t.Errorf("%s: no error", name)
				}
			}
		})
	}
	wg.Wait()
}
