package plan_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

type opaque struct{ A int }

type marked struct{ A int }

type item struct {
	A, B, C, D int64
	_          []large // unexported fields cost nothing
}

type large [1000]byte

type embedded struct{ Deep [][]int16 }

type outer struct {
	embedded
	*item
	Items []item
	P     *large
	By    map[string]large
}

type tree struct {
	Children []tree
	Self     *tree
}

type loop *loop

var model = plan.Model{
	Slice: 2, Any: 16, MapGrowth: 3, MapValues: true,
	Classify: func(t reflect.Type) plan.Kind {
		switch t {
		case reflect.TypeFor[time.Time]():
			return plan.Leaf
		case reflect.TypeFor[opaque]():
			return plan.Opaque
		}
		return plan.Plain
	},
	Mark: func(t reflect.Type) bool { return t == reflect.TypeFor[marked]() },
}

func planOf[T any]() *plan.Plan { return plan.NewCache(model).For(reflect.TypeFor[T]()) }

func TestItems(t *testing.T) {
	const size = 8*4 + 24 // of item
	for _, test := range []struct {
		name  string
		plan  *plan.Plan
		depth int
		want  uint64
	}{
		{"numbers", planOf[[]int64](), 0, 16},
		{"an array needs no room", planOf[[4]int64](), 0, 0},
		{"nothing below numbers", planOf[[]int64](), 1, 0},
		{"structs", planOf[[]item](), 0, 2 * size},
		{"pointers", planOf[[]*large](), 0, 2*8 + 1000 + 8},
		{"pointers to pointers", planOf[[]**large](), 0, 2*8 + 8 + 8 + 1000 + 8},
		{"a field", planOf[outer](), 1, 2 * size},
		{"an embedded field, which may have a name too", planOf[outer](), 2, 2 * 24},
		{"an interface", planOf[any](), 0, 16},
		{"an interface, however deep", planOf[any](), 99, 16},
		{"an interface in a map", planOf[map[string]any](), 1, 16},
		{"a type that contains itself", planOf[tree](), 50, 2 * (24 + 8)},
		{"opaque", planOf[opaque](), 0, 16},
		{"leaf", planOf[time.Time](), 0, 0},
		{"a pointer to itself", planOf[loop](), 0, 0},
	} {
		if got := test.plan.Level(test.depth).Item; got != test.want {
			t.Errorf("%s: an element costs %d, want %d", test.name, got, test.want)
		}
	}
}

func TestMaps(t *testing.T) {
	l := planOf[map[int64]int64]().Level(0)
	if none, one, eight := l.Map(0), l.Map(1), l.Map(8); none == 0 || one < none+8*16 || eight < one+7*16 {
		t.Errorf("maps of 0, 1 and 8 cost %d, %d and %d", none, one, eight)
	}
	if n := l.Map(1000); n < 1000*(16*3) || n > 1000*(16*8) {
		t.Errorf("a map of 1000 costs %d", n)
	}
	if n := planOf[map[string]large]().Level(0).Map(100); n < 100*2000 {
		t.Errorf("a map of large values costs %d", n)
	}
	if n := planOf[outer]().Level(0).Map(1); n < 1000 {
		t.Errorf("a field that points to something large costs %d", n)
	}
	if once, again := planOf[outer]().Level(0).Map(5), planOf[outer]().Level(0).Map(500); once > 2000 || again < 400*1000 {
		t.Errorf("fields that point to something large cost %d, and %d when they come again", once, again)
	}
	if n := planOf[struct{ A int }]().Level(0).Map(100); n != 0 {
		t.Errorf("a struct of numbers costs %d", n)
	}
}

func TestFlags(t *testing.T) {
	if p := planOf[[]map[string][]any](); !p.Dynamic || p.Opaque || p.Marked || p.Self || p.Elem != 8 {
		t.Errorf("%+v", p)
	}
	if p := planOf[struct{ A []*opaque }](); !p.Dynamic || !p.Opaque || p.Self {
		t.Errorf("%+v", p)
	}
	if p := planOf[map[string][3]*marked](); p.Dynamic || !p.Marked {
		t.Errorf("%+v", p)
	}
	if p := planOf[opaque](); !p.Self || p.Elem != 0 {
		t.Errorf("%+v", p)
	}
}

type (
	d0 struct{ A []d1 }
	d1 struct{ A []d2 }
	d2 struct{ A []d3 }
	d3 struct{ A []d4 }
	d4 struct{ A []d5 }
	d5 struct{ A []d6 }
	d6 struct{ A []d7 }
	d7 struct{ A []large }
)

// TestDeepTypes is about types nested deeper than depths are told apart.
func TestDeepTypes(t *testing.T) {
	p := planOf[d0]()
	if n := p.Level(15).Item; n < 2000 {
		t.Errorf("far down an element costs %d", n)
	}
}

func TestCache(t *testing.T) {
	c := plan.NewCache(model)
	typ := reflect.TypeFor[outer]()
	if first, again := c.For(typ), c.For(typ); first != again {
		t.Error("the same type has two plans")
	}
	if n := testing.AllocsPerRun(10, func() { c.For(typ) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
