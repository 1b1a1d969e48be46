// Package plan estimates, from a Go type, what decoding into it costs.
//
// A decoder allocates for the elements of arrays and maps. Which Go type an
// array in the data belongs to depends on how deep it stands, and, inside a
// struct, on the field. A Plan forgets the field: it says for every depth what
// an element costs at most among all the types that can stand there. So it needs no
// field names while data is walked, and it can only be too careful.
package plan

import (
	"reflect"
	"sync"
)

// Kind is how a type takes part in decoding.
type Kind int

// The kinds of types.
const (
	Plain  Kind = iota // as reflection shows it
	Leaf               // decoded from one piece of data that is no array or map, or copied as it is
	Raw                // copied as it is, into a buffer that grows
	Opaque             // decodes itself, so anything may be allocated: costs as much as an interface
)

// A Model says what a decoding library allocates. Sizes are in bytes.
type Model struct {
	Slice     uint64                    // allocated for each byte of a slice's elements, growth included
	Any       uint64                    // for an element of a []any that stands in an interface
	MapGrowth uint64                    // for each byte of a map's entries, when it has more than eight
	MapValues bool                      // whether every key and value of a map is allocated on its own too
	Classify  func(reflect.Type) Kind   // must be a function of the type alone
	Mark      func(t reflect.Type) bool // whether t makes a Plan Marked; nil for never
}

// A Level is what one array or map at one depth costs at most.
type Level struct {
	Item   uint64 // an element of an array
	Header uint64 // a map, even an empty one
	Group  uint64 // room for its first eight entries
	Entry  uint64 // each entry, when there are more than eight
	Value  uint64 // each entry in any case
	Struct uint64 // all that the fields of a struct point to
	Fields uint64 // how many fields it has
	Field  uint64 // the most that one of them points to
}

// Map is the cost of a map with n entries.
func (l *Level) Map(n uint64) uint64 {
	cost := l.Header + n*l.Value + l.fields(n)
	switch {
	case n > groupSlots:
		cost += max(l.Group, n*l.Entry)
	case n > 0:
		cost += l.Group
	}
	return cost
}

// Array is the cost of an array with n elements.
func (l *Level) Array(n uint64) uint64 {
	return n*l.Item + l.fields(n)
}

// fields is what n fields of a struct point to. What comes more often than a struct
// has fields comes again, and may be allocated again.
func (l *Level) fields(n uint64) uint64 {
	if n > l.Fields {
		return l.Struct + (n-l.Fields)*l.Field
	}
	return min(l.Struct, n*l.Field)
}

// A Plan is the cost of decoding into one type. It doesn't change once made.
type Plan struct {
	Levels  []Level // by depth; the last holds for all deeper ones
	Dynamic bool    // an interface can be reached, so values are boxed
	Opaque  bool    // a Raw or Opaque type can be reached
	Marked  bool    // Model.Mark said yes to a type that can be reached
	Self    bool    // the type itself is not Plain, nor bytes copied as they are
	Elem    uint64  // the size of an element when the type is a slice, else 0
}

// Level returns the costs at a depth, 0 for the outermost array or map.
func (p *Plan) Level(depth int) *Level {
	return &p.Levels[min(depth, len(p.Levels)-1)]
}

// A Cache makes plans and keeps them, one for each type. Its methods may be
// called by several goroutines.
type Cache struct {
	model Model
	plans sync.Map // reflect.Type to *Plan
}

// NewCache returns an empty cache.
func NewCache(m Model) *Cache { return &Cache{model: m} }

// For returns the plan of a type. It grows with the types of the program, not
// with what peers send.
func (c *Cache) For(t reflect.Type) *Plan {
	if p, ok := c.plans.Load(t); ok {
		return p.(*Plan)
	}
	p, _ := c.plans.LoadOrStore(t, c.build(t))
	return p.(*Plan)
}

// maxLevels is how many depths are told apart. Types nested deeper share the last.
const maxLevels = 12

const (
	mapHeader  = 48  // the runtime's map
	groupSlots = 8   // entries in its smallest table
	indirect   = 128 // keys and values larger than this are allocated apart
	roundUp    = 8   // lost to size classes at a small allocation
)

type typeSet map[reflect.Type]bool

func (c *Cache) build(t reflect.Type) *Plan {
	p := new(Plan)
	set := typeSet{}
	c.reach(p, set, t)
	switch {
	case c.model.Classify(t) == Plain && t.Kind() == reflect.Slice:
		p.Elem = uint64(t.Elem().Size())
	case c.model.Classify(t) != Plain && !isBytes(t):
		p.Self = true
	}
	for len(set) > 0 && len(p.Levels) < maxLevels {
		next := typeSet{}
		p.Levels = append(p.Levels, c.level(p, set, next))
		if same(set, next) {
			return p
		}
		set = next
	}
	if len(set) > 0 {
		p.Levels = append(p.Levels, c.closure(p, set))
		return p
	}
	p.Levels = append(p.Levels, Level{})
	return p
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// closure is the level that stands for all depths from here on.
func (c *Cache) closure(p *Plan, set typeSet) Level {
	for {
		next := typeSet{}
		l := c.level(p, set, next)
		before := len(set)
		for t := range next {
			set[t] = true
		}
		if len(set) == before {
			return l
		}
	}
}

func same(a, b typeSet) bool {
	if len(a) != len(b) {
		return false
	}
	for t := range a {
		if !b[t] {
			return false
		}
	}
	return true
}

// reach adds to the set what an array or map decoded into a t may belong to.
func (c *Cache) reach(p *Plan, set typeSet, t reflect.Type) {
	for {
		p.Marked = p.Marked || c.model.Mark != nil && c.model.Mark(t)
		switch c.model.Classify(t) {
		case Leaf:
			return
		case Raw:
			p.Opaque = true
			return
		case Opaque:
			p.Opaque, p.Dynamic = true, true
			set[reflect.TypeFor[any]()] = true
			return
		}
		if t.Kind() != reflect.Pointer || t.Elem() == t {
			break
		}
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Interface:
		p.Dynamic = true
		set[reflect.TypeFor[any]()] = true
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		set[t] = true
	}
}
