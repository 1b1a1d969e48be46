package nesting

import (
	"reflect"
	"time"
)

// walk goes through one value, depth first.
//
// What it is behind by way of pointers, slices and maps is a path; each of
// them is compared with a single one before it, the mark, which moves on to where
// the path is twice as long. A path that goes in circles comes by its mark before it is a few times as
// long as the circle and the way there, so nothing needs to be remembered, and what
// stands beside the path is seen a few times at most.
type walk struct {
	checker *Checker
	level   int // arrays, slices, maps and structs around the value
	refs    int // pointers, slices and maps on the way to it
	mark    ref
}

// ref is what a pointer, slice or map refers to.
type ref struct {
	address uintptr
	length  int
	of      reflect.Type
}

func (w *walk) fail(p Problem, t reflect.Type) error {
	return &Error{Problem: p, Type: t, Max: w.checker.rules.Depth}
}

// follow goes by a reference. It returns the mark to come back to.
func (w *walk) follow(t reflect.Type, address uintptr, length int) (ref, error) {
	r := ref{address, length, t}
	if r == w.mark {
		return ref{}, w.fail(Cycle, t)
	}
	w.refs++
	if w.refs > perLevel*w.checker.rules.Depth {
		return ref{}, w.fail(Depth, t)
	}
	old := w.mark
	if w.refs&(w.refs-1) == 0 {
		w.mark = r
	}
	return old, nil
}

// back undoes follow.
func (w *walk) back(mark ref) {
	w.refs--
	w.mark = mark
}

// enter goes one level down.
func (w *walk) enter(t reflect.Type) error {
	w.level++
	if w.level > w.checker.rules.Depth {
		return w.fail(Depth, t)
	}
	return nil
}

// dynamic checks what an interface holds.
func (w *walk) dynamic(v any) error {
	switch held := v.(type) {
	case nil, bool, string, []byte, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64,
		time.Time, []string, map[string]string:
		return nil
	case map[string]any:
		return w.texts(held, reflect.ValueOf(v))
	case []any:
		return w.list(held, reflect.ValueOf(v))
	}
	rv := reflect.ValueOf(v)
	if t := w.checker.For(rv.Type()); t != nil {
		return w.value(rv, t, false)
	}
	return nil
}

// value checks v, of type t. addressable says whether the library finds
// methods of the pointer to it.
func (w *walk) value(v reflect.Value, t *Type, addressable bool) error {
	if t.custom && addressable {
		return nil
	}
	if t.endless {
		return w.fail(Endless, t.of)
	}
	switch v.Kind() {
	case reflect.Interface:
		return w.held(v)
	case reflect.Pointer:
		return w.pointer(v, t)
	case reflect.Slice:
		return w.slice(v, t)
	case reflect.Array:
		return w.elements(v, t, addressable)
	case reflect.Map:
		return w.table(v, t)
	default:
		return w.structure(v, t, addressable)
	}
}

// held checks what v, an interface, holds.
func (w *walk) held(v reflect.Value) error {
	if v.IsNil() {
		return nil
	}
	if v.CanInterface() {
		return w.dynamic(v.Interface())
	}
	v = v.Elem()
	if t := w.checker.For(v.Type()); t != nil {
		return w.value(v, t, false)
	}
	return nil
}

func (w *walk) pointer(v reflect.Value, t *Type) error {
	if v.IsNil() {
		return nil
	}
	mark, err := w.follow(t.of, v.Pointer(), 0)
	if err != nil {
		return err
	}
	if err := w.value(v.Elem(), t.elem, true); err != nil {
		return err
	}
	w.back(mark)
	return nil
}

func (w *walk) slice(v reflect.Value, t *Type) error {
	if v.Len() == 0 {
		return nil
	}
	mark, err := w.follow(t.of, v.Pointer(), v.Len())
	if err != nil {
		return err
	}
	if err := w.elements(v, t, true); err != nil {
		return err
	}
	w.back(mark)
	return nil
}

// elements checks those of a slice or array.
func (w *walk) elements(v reflect.Value, t *Type, addressable bool) error {
	if err := w.enter(t.of); err != nil {
		return err
	}
	for i := range v.Len() {
		if err := w.value(v.Index(i), t.elem, addressable); err != nil {
			return err
		}
	}
	w.level--
	return nil
}

func (w *walk) structure(v reflect.Value, t *Type, addressable bool) error {
	if err := w.enter(t.of); err != nil {
		return err
	}
	for i := range t.fields {
		f := &t.fields[i]
		if f.inlined {
			w.level--
		}
		if err := w.value(v.Field(f.index), f.of, addressable); err != nil {
			return err
		}
		if f.inlined {
			w.level++
		}
	}
	w.level--
	return nil
}

// table checks a map.
func (w *walk) table(v reflect.Value, t *Type) error {
	if v.Len() == 0 {
		return nil
	}
	if v.CanInterface() {
		if m, ok := v.Interface().(map[string]any); ok {
			return w.texts(m, v)
		}
	}
	mark, err := w.follow(t.of, v.Pointer(), 0)
	if err != nil {
		return err
	}
	if err := w.enter(t.of); err != nil {
		return err
	}
	if err := w.entries(v, t); err != nil {
		return err
	}
	w.level--
	w.back(mark)
	return nil
}

// entries checks those of a map. It has one place for all values, where it may.
func (w *walk) entries(v reflect.Value, t *Type) error {
	var value reflect.Value
	oneByOne := !v.CanInterface()
	if t.elem != nil && !oneByOne {
		value = reflect.New(t.elem.of).Elem()
	}
	for iter := v.MapRange(); iter.Next(); {
		if t.key != nil {
			if err := w.value(iter.Key(), t.key, false); err != nil {
				return err
			}
		}
		if t.elem == nil {
			continue
		}
		if oneByOne {
			value = iter.Value()
		} else {
			value.SetIterValue(iter)
		}
		if err := w.value(value, t.elem, false); err != nil {
			return err
		}
	}
	return nil
}

// texts checks a map with text for keys, the most usual one.
func (w *walk) texts(m map[string]any, v reflect.Value) error {
	if len(m) == 0 {
		return nil
	}
	t := reflect.TypeFor[map[string]any]()
	mark, err := w.follow(t, v.Pointer(), 0)
	if err != nil {
		return err
	}
	if err := w.enter(t); err != nil {
		return err
	}
	for _, v := range m {
		if err := w.dynamic(v); err != nil {
			return err
		}
	}
	w.level--
	w.back(mark)
	return nil
}

// list checks a slice of anything.
func (w *walk) list(list []any, v reflect.Value) error {
	if len(list) == 0 {
		return nil
	}
	t := reflect.TypeFor[[]any]()
	mark, err := w.follow(t, v.Pointer(), len(list))
	if err != nil {
		return err
	}
	if err := w.enter(t); err != nil {
		return err
	}
	for _, v := range list {
		if err := w.dynamic(v); err != nil {
			return err
		}
	}
	w.level--
	w.back(mark)
	return nil
}
