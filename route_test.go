package flyrpc

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// mark returns a Middleware that puts name and brackets around a text reply, and
// counts in wraps, if it isn't nil, how often it is called.
func mark(name string, wraps *int) Middleware {
	return func(next Handler) Handler {
		if wraps != nil {
			*wraps++
		}
		return func(ctx *Context) (any, error) {
			m, err := next(ctx)
			return fmt.Sprintf("%s(%v)", name, m), err
		}
	}
}

func echo(s string) (string, error) { return s, nil }

func TestMiddlewareOrder(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/root", echo)
	a := r.Group("/a", mark("a1", nil), mark("a2", nil))
	a.OnMessage("/x", echo)
	b := a.With(mark("b", nil))
	b.OnMessage("/y", echo)
	deep := b.Group("/deep")
	r.Use(mark("r1", nil))
	a.Use(mark("a3", nil))
	r.Use(mark("r2", nil), mark("r3", nil))
	r.Use()
	deep.OnMessage("/z", echo)
	deep.Use(mark("d", nil))
	r.OnMessage("/late", echo)
	for path, want := range map[string]string{
		"/root":     "r1(r2(r3(-)))",
		"/late":     "r1(r2(r3(-)))",
		"/a/x":      "r1(r2(r3(a1(a2(a3(-))))))",
		"/a/y":      "r1(r2(r3(a1(a2(a3(b(-)))))))",
		"/a/deep/z": "r1(r2(r3(a1(a2(a3(b(d(-))))))))",
	} {
		if got := serveText(t, r, path, "-"); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestMiddlewareIsCopied(t *testing.T) {
	list := []Middleware{mark("a", nil)}
	r := NewRouter()
	g := r.With(list...)
	r.Use(list...)
	list[0] = nil
	g.OnMessage("/x", echo)
	if got := serveText(t, r, "/x", "-"); got != "a(a(-))" {
		t.Errorf("got %s", got)
	}
}

func TestWrapCounts(t *testing.T) {
	var root, group int
	r := NewRouter()
	r.Use(mark("r", &root))
	g := r.Group("/g", mark("g", &group))
	check := func(when string, wantRoot, wantGroup int) {
		t.Helper()
		if root != wantRoot || group != wantGroup {
			t.Errorf("%s: %d and %d wraps, want %d and %d", when, root, group, wantRoot, wantGroup)
		}
		root, group = 0, 0
	}
	r.OnMessage("/a", echo)
	check("a route", 1, 0)
	g.OnMessage("/b", echo)
	check("a route in the group", 1, 1)
	for range 3 {
		serveText(t, r, "/a", "-")
		serveText(t, r, "/g/b", "-")
	}
	check("packets", 0, 0)
	g.Use(mark("g2", nil))
	check("Use on the group", 1, 1)
	r.Use(mark("r2", nil))
	check("Use on the root", 2, 1)
	r.With(mark("w", nil)).Use(mark("w2", nil))
	check("Use where no route is", 0, 0)
}

func nilMiddleware(Handler) Handler { return nil }

func TestMiddlewareThatReturnsNil(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/x", echo)
	r.NotFound(echo)
	wantPanic(t, func() { r.Use(mark("a", nil), nilMiddleware) },
		"flyrpc: Use at ", "route_test.go:", "the Middleware ", "flyrpc.nilMiddleware returns nil for ", `OnMessage("/x", func(string) (string, error)) at `)
	g := r.With(nilMiddleware)
	wantPanic(t, func() { g.OnMessage("/y", echo) }, `flyrpc: OnMessage("/y", `, "flyrpc.nilMiddleware returns nil for ")
	if got := serveText(t, r, "/x", "-") + serveText(t, r, "/none", "-") + serveText(t, r, "/y", "-"); got != "---" {
		t.Errorf("something has changed: %s", got)
	}
	r.Use(mark("b", nil))
	if got := serveText(t, r, "/x", "-"); got != "b(-)" {
		t.Errorf("got %s", got)
	}
}

// TestConcurrentRegistration registers, looks up and uses middleware at once; each
// goroutine finds what it has registered.
func TestConcurrentRegistration(t *testing.T) {
	const goroutines, each = 8, 50
	r := NewRouter()
	r.OnMessage("/always", echo)
	var wraps atomic.Int64
	count := func(next Handler) Handler { wraps.Add(1); return next }
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			group := r.Group(fmt.Sprintf("/%d", g), count)
			for i := range each {
				path := fmt.Sprintf("/%d/{id}", i)
				group.OnMessage(path, echo)
				if got := serveText(t, r, fmt.Sprintf("/%d/%d/x", g, i), "-"); got != "-" {
					t.Errorf("%s of %d: %s", path, g, got)
				}
				if got := serveText(t, group, "/always", "-"); got != "-" {
					t.Errorf("/always: %s", got)
				}
				if i%10 == 0 {
					group.Use(count)
					group.NotFound(echo)
					group.Routes()
				}
			}
		})
	}
	wg.Wait()
	if n := len(r.Routes()); n != goroutines*each+1 {
		t.Errorf("%d routes", n)
	}
	indexes := make(map[int]bool)
	for _, rt := range r.table.routes {
		if indexes[rt.index] || r.table.routes[rt.index] != rt {
			t.Errorf("%s has index %d", rt.path, rt.index)
		}
		indexes[rt.index] = true
	}
}

func TestPackageOf(t *testing.T) {
	for function, want := range map[string]string{
		"main.main":                      "main",
		"main.(*T).M":                    "main",
		"example.com/a.b/c.F[...]":       "example.com/a.b/c",
		"example.com/a/c_test.F.func1":   "example.com/a/c_test",
		"github.com/go-flyrpc/flyrpc.Do": "github.com/go-flyrpc/flyrpc",
		"":                               "",
	} {
		if got := packageOf(function); got != want {
			t.Errorf("packageOf(%q) = %q", function, got)
		}
	}
}
