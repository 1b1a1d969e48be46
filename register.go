package flyrpc

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Register registers every exported method of value whose first parameter is
// *Context or context.Context, as OnMessage would, with the path prefix/Method; a
// prefix that ends in a slash gets no second one. It returns the paths, sorted. The
// methods of a pointer include those of what it points to, not the other way round.
//
// It panics, as OnMessage does, if one of these methods can't be a handler or its path
// is taken, and if there is none; then it says why each method was left out. Either
// all are registered or none.
func (r *Router) Register(prefix string, value any) []string {
	prefix = r.prefix + prefix
	o := newOrigin("Register(%q, %s)", prefix, typeText(value))
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		o.panicf("the value is nil")
	}
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	var routes []*route
	var paths []string
	for i := range v.NumMethod() {
		name, method := v.Type().Method(i).Name, v.Method(i)
		if !takesContext(method.Type()) {
			continue
		}
		plan, err := newPlan(method)
		if err != nil {
			o.panicf("method %s, %s: %v", name, method.Type(), err)
		}
		routes = append(routes, newRoute(o, prefix+name, nil, method.Type(), plan, bindPlan(plan, method)))
		paths = append(paths, prefix+name)
	}
	if len(routes) == 0 {
		o.panicf("no method to register: %s", strings.Join(leftOut(v.Type()), "; "))
	}
	r.add(routes...)
	slices.Sort(paths)
	return paths
}

// takesContext reports whether a method, its receiver not counted, is one to register.
func takesContext(t reflect.Type) bool {
	return t.NumIn() > 0 && (t.In(0) == reflect.TypeFor[*Context]() || t.In(0) == reflect.TypeFor[context.Context]())
}

// leftOut says for each method of a type without one to register why it is none.
func leftOut(t reflect.Type) []string {
	var reasons []string
	for i := range t.NumMethod() {
		m := t.Method(i)
		if m.Type.NumIn() == 1 { // the receiver
			reasons = append(reasons, m.Name+" has no parameter")
			continue
		}
		reasons = append(reasons, fmt.Sprintf("the first parameter of %s is %s", m.Name, m.Type.In(1)))
	}
	for _, name := range pointerMethods(t) {
		reasons = append(reasons, fmt.Sprintf("%s is a method of *%s, so register a pointer", name, t))
	}
	if reasons == nil {
		return []string{fmt.Sprintf("%s has no exported method", t)}
	}
	return append(reasons, "the first parameter must be *flyrpc.Context or context.Context")
}

// pointerMethods returns the names of the methods that *t has and t doesn't.
func pointerMethods(t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		return nil
	}
	var names []string
	p := reflect.PointerTo(t)
	for i := range p.NumMethod() {
		if name := p.Method(i).Name; !hasMethod(t, name) {
			names = append(names, name)
		}
	}
	return names
}

func hasMethod(t reflect.Type, name string) bool {
	_, ok := t.MethodByName(name)
	return ok
}
