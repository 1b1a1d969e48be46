package flyrpc

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/go-flyrpc/flyrpc/internal/adapt"
	"github.com/go-flyrpc/flyrpc/internal/pathtree"
)

// reservedPrefix begins the paths that FlyRPC keeps for itself.
const reservedPrefix = "fly."

// RouteOption is a property of a route, or several joined with |. The zero value is
// none.
type RouteOption uint8

// The options of routes.
const (
	// Ordered has the packets of one connection handled one after another in the
	// order in which they came, instead of concurrently.
	Ordered RouteOption = 1 << iota
	// Inline has the handler run where packets are read, without a goroutine of its
	// own: for what returns at once and never waits. It implies Ordered.
	Inline
	// NoCompress has what the handler sends back left uncompressed.
	NoCompress
	// Idempotent says that handling a message twice does what handling it once does.
	Idempotent

	allOptions = Ordered | Inline | NoCompress | Idempotent
)

func (o RouteOption) ordered() bool    { return o&(Ordered|Inline) != 0 }
func (o RouteOption) inline() bool     { return o&Inline != 0 }
func (o RouteOption) noCompress() bool { return o&NoCompress != 0 }
func (o RouteOption) idempotent() bool { return o&Idempotent != 0 }

// String returns the names of the constants, joined with |, or "0".
func (o RouteOption) String() string {
	var names []string
	for i, name := range []string{"Ordered", "Inline", "NoCompress", "Idempotent"} {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := o &^ allOptions; rest != 0 || o == 0 {
		names = append(names, fmt.Sprint(uint8(rest)))
	}
	return strings.Join(names, "|")
}

// RouteInfo describes a route.
type RouteInfo struct {
	// Path is the path or pattern, prefixes included.
	Path string
	// Type is the type of the function that was registered.
	Type reflect.Type
	// Options are the route's options.
	Options RouteOption
	// File and Line are where it was registered.
	File string
	Line int
}

// route is a path with its handler. It is immutable once it is in a table.
type route struct {
	path    string   // the path or pattern
	params  []string // the names in the pattern
	opts    RouteOption
	handler Handler       // with all middleware
	takes   bool          // it takes items, or a reader
	yields  bool          // it answers with items, or may
	streams bool          // it does either
	plan    *adapt.Plan   // how it is called
	index   int           // its place in the table, the same for good
	large   *atomic.Int64 // the size of its last reply, if that was large

	pattern pathtree.Pattern
	typ     reflect.Type
	base    Handler // without middleware
	via     *Router // what it was registered with
	origin  origin
}

// newRoute returns a route that isn't in a table. It panics if the path or an option
// is wrong.
func newRoute(o origin, path string, opts []RouteOption, typ reflect.Type, plan *adapt.Plan, base Handler) *route {
	pattern, err := parsePath(path)
	if err != nil {
		o.panicf("%v", err)
	}
	rt := &route{path: path, params: pattern.Names(), pattern: pattern, typ: typ, base: base, origin: o, large: new(atomic.Int64)}
	for _, opt := range opts {
		if opt&^allOptions != 0 {
			o.panicf("RouteOption %s is none", opt)
		}
		rt.opts |= opt
	}
	rt.setPlan(plan)
	if rt.streams && rt.opts.inline() {
		o.panicf("the handler takes or sends items, which it has to wait for: that can't be Inline")
	}
	return rt
}

// setPlan sets the plan and what it says of items.
func (rt *route) setPlan(p *adapt.Plan) {
	rt.plan, rt.takes, rt.yields = p, p.Takes, p.Yields
	rt.streams = p.Takes || p.Yields
}

// parsePath parses the path of a route. The error says what is wrong with it.
func parsePath(path string) (pathtree.Pattern, error) {
	var fault string
	switch {
	case path == "":
		fault = "the path is empty"
	case len(path) > maxCodeLen:
		fault = fmt.Sprintf("the path has %d bytes, at most %d", len(path), maxCodeLen)
	case !utf8.ValidString(path):
		fault = "the path is not UTF-8"
	case strings.IndexByte(path, 0) >= 0:
		fault = "the path has a zero byte, which ends a path on the wire"
	case path[0] == 1:
		fault = "the path begins with byte 1, which marks a learned code on the wire"
	case strings.HasPrefix(path, reservedPrefix):
		fault = "paths that begin with " + reservedPrefix + " are reserved"
	default:
		return pathtree.Parse(path)
	}
	return pathtree.Pattern{}, errors.New(fault)
}

// compile wraps the route's handler with the middleware of the Router it was
// registered with. It panics, naming the culprit to o, if a Middleware returns nil.
func (rt *route) compile(o origin) {
	rt.handler = rt.base
	chain := rt.via.chain()
	for i := len(chain) - 1; i >= 0; i-- {
		rt.handler = chain[i](rt.handler)
		if rt.handler == nil {
			o.panicf("the Middleware %s returns nil for %s", funcName(chain[i]), rt.origin)
		}
	}
}

// funcName returns the name of a function that isn't nil.
func funcName(f any) string {
	return runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
}

// origin is what a program called to register something, and where. Messages name it.
type origin struct {
	call string
	file string
	line int
}

// newOrigin returns the origin for a call written as format and args say, made by
// the nearest caller outside of this package.
func newOrigin(format string, args ...any) origin {
	o := origin{call: fmt.Sprintf(format, args...)}
	o.file, o.line = callSite()
	return o
}

// String returns the call and its place.
func (o origin) String() string { return fmt.Sprintf("%s at %s:%d", o.call, o.file, o.line) }

// panicf panics with a message that begins with the origin.
func (o origin) panicf(format string, args ...any) {
	panic(fmt.Sprintf("flyrpc: %s: %s", o, fmt.Sprintf(format, args...)))
}

// callSite returns the place of the nearest caller outside of this package. The
// package's own tests count as outside.
func callSite() (file string, line int) {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	f, more := frames.Next()
	own := packageOf(f.Function)
	for more {
		f, more = frames.Next()
		if f.File != "<autogenerated>" && (packageOf(f.Function) != own || strings.HasSuffix(f.File, "_test.go")) {
			break
		}
	}
	return f.File, f.Line
}

// packageOf returns the path of a function's package: what stands before the first
// dot behind the last slash.
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}
