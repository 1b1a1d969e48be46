// Package nesting finds the values that an encoder can't get to the end of: those that
// contain themselves, and those nested so deep that an encoder which recurses would
// overflow the stack, which ends the process.
//
// A value is walked as the encoder will walk it, but only where its types allow for
// such a thing: behind interfaces, and in types that can contain themselves.
package nesting

import (
	"fmt"
	"reflect"
	"sync"
)

// Rules say how a library encodes.
type Rules struct {
	Depth  int                                                 // the most levels of arrays, slices, maps and structs
	Custom func(t reflect.Type) bool                           // whether t encodes itself, so that the library doesn't look inside; of the type alone
	Field  func(f reflect.StructField) (encoded, inlined bool) // whether a field is encoded, and among those of the outer struct
	Keys   bool                                                // whether the keys of maps can be anything
}

// perLevel is how many pointers, slices and maps there may be on the way to
// a value for each level that Rules allow, as in an array of pointers to pointers.
const perLevel = 4

// A Problem is why a value can't be encoded.
type Problem int

// The problems.
const (
	Cycle   Problem = iota // the value contains itself
	Depth                  // it is nested too deep
	Endless                // its type embeds itself, which sends some libraries round in circles
)

// An Error says what is wrong with a value.
type Error struct {
	Problem Problem
	Type    reflect.Type // where it was found
	Max     int          // the levels allowed
}

// ProblemOf returns the problem of an error that Check returned.
func ProblemOf(err error) Problem { return err.(*Error).Problem }

// Error says what is wrong, and where.
func (e *Error) Error() string {
	switch e.Problem {
	case Cycle:
		return fmt.Sprintf("the value contains itself, by way of a %v", e.Type)
	case Depth:
		return fmt.Sprintf("the value is nested deeper than %d levels, at a %v", e.Max, e.Type)
	default:
		return fmt.Sprintf("the type %v embeds or points to itself", e.Type)
	}
}

// A Checker checks values by the rules of one library. Its methods may be called by
// several goroutines.
type Checker struct {
	rules Rules
	types sync.Map // reflect.Type to *Type, nil for those that needn't be checked
}

// New returns a Checker.
func New(r Rules) *Checker { return &Checker{rules: r} }

// Check returns an *Error if v can't be encoded.
func (c *Checker) Check(v any) error {
	w := walk{checker: c}
	return w.dynamic(v)
}

// For returns what the values of a type are checked with, nil if they needn't be. It
// is kept; there are as many as the program has types, whatever peers send.
func (c *Checker) For(t reflect.Type) *Type {
	if found, ok := c.types.Load(t); ok {
		return found.(*Type)
	}
	b := builder{checker: c, types: map[reflect.Type]*Type{}}
	made := b.build(t)
	for t, made := range b.types {
		c.types.LoadOrStore(t, made)
	}
	return made
}

// A Type is a type whose values may contain themselves or be nested to any depth. It
// doesn't change once made.
type Type struct {
	checker *Checker
	of      reflect.Type
	custom  bool // encodes itself where it has an address
	endless bool
	key     *Type // of a map; nil if keys needn't be checked
	elem    *Type // of a pointer, array, slice or map; nil likewise
	fields  []field
}

// field is a field that has to be checked.
type field struct {
	index   int
	inlined bool
	of      *Type
}

// Check returns an *Error if v, of type t, can't be encoded.
func (t *Type) Check(v reflect.Value) error {
	if t == nil {
		return nil
	}
	w := walk{checker: t.checker}
	return w.value(v, t, v.CanAddr())
}

// builder makes the Type of a type and of all that it is made of.
type builder struct {
	checker *Checker
	types   map[reflect.Type]*Type
}

// build returns the Type of t, or nil. A type that is met again while it is being
// built contains itself.
func (b *builder) build(t reflect.Type) *Type {
	if made, ok := b.types[t]; ok {
		return made
	}
	if made, ok := b.checker.types.Load(t); ok {
		return made.(*Type)
	}
	rules := &b.checker.rules
	if rules.Custom(t) {
		b.types[t] = nil
		return nil
	}
	made := &Type{checker: b.checker, of: t}
	b.types[t] = made
	switch t.Kind() {
	case reflect.Interface:
		return made
	case reflect.Pointer, reflect.Slice, reflect.Array:
		made.elem = b.build(t.Elem())
	case reflect.Map:
		made.elem = b.build(t.Elem())
		if rules.Keys {
			made.key = b.build(t.Key())
		}
	case reflect.Struct:
		b.fields(made)
	}
	if made.elem == nil && made.key == nil && len(made.fields) == 0 {
		b.types[t] = nil
		return nil
	}
	made.custom = t.Kind() != reflect.Pointer && rules.Custom(reflect.PointerTo(t))
	if t.Kind() != reflect.Pointer || t.Elem().Kind() == reflect.Pointer { // another may be nil
		made.endless = b.endless(t, map[reflect.Type]bool{})
	}
	return made
}

func (b *builder) fields(made *Type) {
	for i := range made.of.NumField() {
		f := made.of.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		encoded, inlined := b.checker.rules.Field(f)
		if !encoded {
			continue
		}
		if of := b.build(f.Type); of != nil {
			made.fields = append(made.fields, field{index: i, inlined: inlined, of: of})
		}
	}
}

// endless reports whether t leads to itself by pointers and inlined fields alone. The types
// passed are in seen, true while on the way.
func (b *builder) endless(t reflect.Type, seen map[reflect.Type]bool) bool {
	if on, ok := seen[t]; ok {
		return on
	}
	if b.checker.rules.Custom(t) {
		return false
	}
	seen[t] = true
	defer func() { seen[t] = false }()
	switch t.Kind() {
	case reflect.Pointer:
		return b.endless(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.Anonymous {
				continue
			}
			if encoded, inlined := b.checker.rules.Field(f); encoded && inlined && b.endless(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
