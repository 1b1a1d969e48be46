package flyrpc

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-flyrpc/flyrpc/internal/pathtree"
)

// Router holds the handlers of paths. NewRouter makes one; Server and Client embed
// one. With and Group make more that share the routes of the first, the root.
//
// A path is any text, such as hello, user.get or /user/get. Slashes divide it into
// segments. A segment {id} stands for any one segment that isn't empty, and a last
// segment {path...} for all the segments that are left, of which there is at least
// one, which may be empty: /files/{path...} takes /files/ but not /files. The
// handler finds what they stood for with Context.Param. A slash at the end is like
// any other text. Paths are compared as they came, before any middleware; where
// several match, the first segment that differs decides, text before {id}, and {id}
// before {path...}.
//
// A path to register is UTF-8 of 1 to 4,096 bytes, has no zero byte and begins
// neither with byte 1 nor with "fly.". One that names just the paths that another
// one names is a conflict.
//
// All methods may be called at any time and concurrently, also while packets are
// handled: what is registered holds for the packets that come after the call. They
// panic with the place of the call if an argument is wrong, and then change nothing.
type Router struct {
	table      *table
	parent     *Router // nil for the root
	prefix     string
	middleware []Middleware // its own; table.mu guards it
}

// NewRouter returns a root Router without routes.
func NewRouter() *Router {
	return &Router{table: &table{shapes: make(map[string]*route)}}
}

// OnMessage registers the handler of a path. It panics, naming path, type, file and
// line, if the path, the options or h's type are wrong, or the path is taken, and
// then names both places.
func (r *Router) OnMessage(path string, h MessageHandler, opts ...RouteOption) {
	path = r.prefix + path
	o := newOrigin("OnMessage(%q, %s)", path, typeText(h))
	handler, plan, err := newHandler(h)
	if err != nil {
		o.panicf("%v", err)
	}
	r.add(newRoute(o, path, opts, reflect.TypeOf(h), plan, handler))
}

// NotFound registers the handler of the packets whose path no route has, instead of
// an answer with the code NotFound. It replaces the one before. There is one for
// the root and all that share its routes, and only the root's middleware wraps it.
func (r *Router) NotFound(h MessageHandler) {
	o := newOrigin("NotFound(%s)", typeText(h))
	handler, plan, err := newHandler(h)
	if err != nil {
		o.panicf("%v", err)
	}
	root := r
	for root.parent != nil {
		root = root.parent
	}
	rt := &route{index: -1, typ: reflect.TypeOf(h), base: handler, via: root, origin: o, large: new(atomic.Int64)}
	rt.setPlan(plan)
	t := r.table
	t.mu.Lock()
	defer t.mu.Unlock()
	rt.compile(o)
	t.missing = rt
	t.current.Store(nil)
}

// Use appends middleware to r's. It wraps the handlers of all routes registered with
// r and with what With and Group made of r or will make, those registered before
// Use included. The first Middleware of the root is the outermost one; those of a
// Router come inside its parent's.
func (r *Router) Use(middleware ...Middleware) {
	o := newOrigin("Use")
	checkMiddleware(o, middleware)
	if len(middleware) == 0 {
		return
	}
	r.table.use(o, r, middleware)
}

// With returns a Router with r's routes, prefix and middleware, and more middleware
// for what is registered with it.
func (r *Router) With(middleware ...Middleware) *Router {
	checkMiddleware(newOrigin("With"), middleware)
	return r.child("", middleware)
}

// Group returns a Router that puts prefix, as it is, before the paths registered
// with it, behind r's own prefix. Else it is what With returns.
func (r *Router) Group(prefix string, middleware ...Middleware) *Router {
	checkMiddleware(newOrigin("Group(%q)", prefix), middleware)
	return r.child(prefix, middleware)
}

func (r *Router) child(prefix string, middleware []Middleware) *Router {
	return &Router{table: r.table, parent: r, prefix: r.prefix + prefix, middleware: slices.Clone(middleware)}
}

// Routes describes the routes of the root and all that share them, sorted by path.
func (r *Router) Routes() []RouteInfo {
	t := r.table
	t.mu.Lock()
	defer t.mu.Unlock()
	infos := make([]RouteInfo, len(t.routes))
	for i, rt := range t.routes {
		infos[i] = RouteInfo{Path: rt.path, Type: rt.typ, Options: rt.opts, File: rt.origin.file, Line: rt.origin.line}
	}
	slices.SortFunc(infos, func(a, b RouteInfo) int { return strings.Compare(a.Path, b.Path) })
	return infos
}

// find returns the route of a path, the values of its params in their order, and the
// path as a string, or nil if no route has the path. It allocates nothing if path
// is that of a route without params, and keeps no part of path.
func (r *Router) find(path []byte) (rt *route, params []string, full string) {
	s := r.table.load()
	if rt := s.exact[string(path)]; rt != nil {
		return rt, nil, rt.path
	}
	if s.patterns == nil {
		return nil, nil, ""
	}
	full = string(path)
	rt, params, ok := s.patterns.Match(full)
	if !ok {
		return nil, nil, ""
	}
	return rt, params, full
}

// notFound returns the route that NotFound set, or nil. Its path is empty.
func (r *Router) notFound() *route { return r.table.load().missing }

// add puts routes into the table: all, or none and it panics.
func (r *Router) add(routes ...*route) {
	for _, rt := range routes {
		rt.via = r
	}
	r.table.add(routes)
}

// chain returns the middleware from the root's down to r's. The caller holds table.mu.
func (r *Router) chain() []Middleware {
	if r.parent == nil {
		return r.middleware
	}
	return slices.Concat(r.parent.chain(), r.middleware)
}

// within reports whether r is top or made of it by With and Group.
func (r *Router) within(top *Router) bool {
	for r != nil && r != top {
		r = r.parent
	}
	return r != nil
}

// checkMiddleware panics if one is nil.
func checkMiddleware(o origin, middleware []Middleware) {
	for i, m := range middleware {
		if m == nil {
			o.panicf("Middleware %d is nil", i+1)
		}
	}
}

// typeText returns the name of h's type.
func typeText(h any) string {
	if h == nil {
		return "nil"
	}
	return reflect.TypeOf(h).String()
}

// table holds the routes of a root Router and of those that share them. Lookups
// read a snapshot, which the first one after a change makes; they take no lock else.
type table struct {
	current atomic.Pointer[snapshot] // nil after a change

	mu      sync.Mutex
	routes  []*route          // by index
	shapes  map[string]*route // by the shapes of their patterns
	missing *route            // of NotFound
}

// snapshot is what lookups read. It is immutable.
type snapshot struct {
	exact    map[string]*route      // by path
	patterns *pathtree.Tree[*route] // nil if there are none
	missing  *route
}

// add puts routes into the table, or panics and changes nothing.
func (t *table) add(routes []*route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, rt := range routes {
		if other := t.shapes[rt.pattern.Shape()]; other != nil {
			rt.origin.panicf("the path %q is that of %s", rt.path, other.origin)
		}
	}
	for _, rt := range routes {
		rt.compile(rt.origin)
	}
	for _, rt := range routes {
		rt.index = len(t.routes)
		t.routes = append(t.routes, rt)
		t.shapes[rt.pattern.Shape()] = rt
	}
	t.current.Store(nil)
}

// use appends middleware to that of r and compiles the routes it is for anew, or
// panics and changes nothing.
func (t *table) use(o origin, r *Router, middleware []Middleware) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, done := r.middleware, false
	r.middleware = slices.Concat(before, middleware)
	defer func() {
		if !done {
			r.middleware = before
		}
	}()
	renew := func(rt *route) *route {
		if rt == nil || !rt.via.within(r) {
			return rt
		}
		c := *rt
		c.compile(o)
		return &c
	}
	routes, shapes := make([]*route, len(t.routes)), maps.Clone(t.shapes)
	for i, rt := range t.routes {
		routes[i] = renew(rt)
		shapes[rt.pattern.Shape()] = routes[i]
	}
	t.missing = renew(t.missing)
	t.routes, t.shapes, done = routes, shapes, true
	t.current.Store(nil)
}

// load returns the snapshot of the routes as they are now.
func (t *table) load() *snapshot {
	if s := t.current.Load(); s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.current.Load()
	if s == nil {
		s = t.newSnapshot()
		t.current.Store(s)
	}
	return s
}

func (t *table) newSnapshot() *snapshot {
	s := &snapshot{exact: make(map[string]*route, len(t.routes)), missing: t.missing}
	for _, rt := range t.routes {
		if rt.pattern.Exact() {
			s.exact[rt.path] = rt
			continue
		}
		if s.patterns == nil {
			s.patterns = new(pathtree.Tree[*route])
		}
		s.patterns.Add(rt.pattern, rt)
	}
	return s
}
