package plan

import "reflect"

// level is what an array or map costs that belongs to any type of the set; what
// may stand inside is added to next.
func (c *Cache) level(p *Plan, set, next typeSet) Level {
	var l Level
	for t := range set {
		switch t.Kind() {
		case reflect.Interface:
			next[t] = true
			l.raise(c.dynamic())
		case reflect.Slice:
			c.reach(p, next, t.Elem())
			l.raise(Level{Item: c.model.Slice*elementSize(t) + c.slot(t.Elem())})
		case reflect.Array:
			c.reach(p, next, t.Elem())
			l.raise(Level{Item: c.slot(t.Elem())})
		case reflect.Map:
			c.reach(p, next, t.Key())
			c.reach(p, next, t.Elem())
			l.raise(c.mapLevel(t))
		case reflect.Struct:
			l.raise(c.structLevel(p, t, next, typeSet{}))
		}
	}
	return l
}

func (l *Level) raise(o Level) {
	l.Item = max(l.Item, o.Item)
	l.Header = max(l.Header, o.Header)
	l.Group = max(l.Group, o.Group)
	l.Entry = max(l.Entry, o.Entry)
	l.Value = max(l.Value, o.Value)
	l.Struct = max(l.Struct, o.Struct)
	l.Fields = max(l.Fields, o.Fields)
	l.Field = max(l.Field, o.Field)
}

// dynamic is an array or map in an interface: a []any or a map[string]any.
func (c *Cache) dynamic() Level {
	l := c.mapLevel(reflect.TypeFor[map[string]any]())
	l.Item = c.model.Any
	return l
}

func (c *Cache) mapLevel(t reflect.Type) Level {
	key, value := uint64(t.Key().Size()), uint64(t.Elem().Size())
	entry := inMap(key) + inMap(value) + 1
	l := Level{
		Header: mapHeader,
		Group:  groupSlots*entry + roundUp*4,
		Entry:  c.model.MapGrowth * entry,
		Value:  apart(key) + apart(value) + c.slot(t.Key()) + c.slot(t.Elem()),
	}
	if c.model.MapValues && t != reflect.TypeFor[map[string]any]() {
		l.Value += key + value + 2*roundUp
	}
	return l
}

func inMap(size uint64) uint64 {
	if size > indirect {
		return 8
	}
	return size
}

func apart(size uint64) uint64 {
	if size > indirect {
		return size + size/indirect
	}
	return 0
}

// structLevel is a struct: its fields exist already, and only what they point to
// is allocated. It can be written as a map or as an array. The fields of an
// embedded struct are fields of the outer one.
func (c *Cache) structLevel(p *Plan, t reflect.Type, next, seen typeSet) Level {
	var l Level
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		c.reach(p, next, f.Type)
		slot := c.slot(f.Type)
		l.Fields++
		l.Struct += slot
		l.Field = max(l.Field, slot)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && inner.Kind() == reflect.Struct && !seen[inner] {
			in := c.structLevel(p, inner, next, seen)
			l.Fields += in.Fields
			l.Struct += in.Struct
			l.Field = max(l.Field, in.Field)
		}
	}
	return l
}

// slot is what decoding one value into a t allocates apart from the t.
func (c *Cache) slot(t reflect.Type) uint64 {
	var total uint64
	for range maxLevels {
		if t.Kind() != reflect.Pointer {
			return total
		}
		t = t.Elem()
		total += uint64(t.Size()) + roundUp
	}
	return total
}

// elementSize counts elements without a size as a word: what a library does for
// each of them is no less.
func elementSize(t reflect.Type) uint64 {
	if n := uint64(t.Elem().Size()); n > 0 {
		return n
	}
	return 8
}
