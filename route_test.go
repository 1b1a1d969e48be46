package flyrpc

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// marked returns a Middleware that puts name and brackets around a text reply, and
// counts in wraps, if it isn't nil, how often it is called.
func marked(name string, wraps *int) Middleware {
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

func sameText(s string) (string, error) { return s, nil }

func TestMiddlewareOrder(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/root", sameText)
	a := r.Group("/a", marked("a1", nil), marked("a2", nil))
	a.OnMessage("/x", sameText)
	b := a.With(marked("b", nil))
	b.OnMessage("/y", sameText)
	deep := b.Group("/deep")
	r.Use(marked("r1", nil))
	a.Use(marked("a3", nil))
	r.Use(marked("r2", nil), marked("r3", nil))
	r.Use()
	deep.OnMessage("/z", sameText)
	deep.Use(marked("d", nil))
	r.OnMessage("/late", sameText)
	for path, want := range map[string]string{
		"/root":     "r1(r2(r3(-)))",
		"/late":     "r1(r2(r3(-)))",
		"/a/x":      "r1(r2(r3(a1(a2(a3(-))))))",
		"/a/y":      "r1(r2(r3(a1(a2(a3(b(-)))))))",
		"/a/deep/z": "r1(r2(r3(a1(a2(a3(b(d(-))))))))",
	} {
		if got := serveTextOn(t, r, path, "-"); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestMiddlewareIsCopied(t *testing.T) {
	list := []Middleware{marked("a", nil)}
	r := NewRouter()
	g := r.With(list...)
	r.Use(list...)
	list[0] = nil
	g.OnMessage("/x", sameText)
	if got := serveTextOn(t, r, "/x", "-"); got != "a(a(-))" {
		t.Errorf("got %s", got)
	}
}

func TestWrapCounts(t *testing.T) {
	var root, group int
	r := NewRouter()
	r.Use(marked("r", &root))
	g := r.Group("/g", marked("g", &group))
	check := func(when string, wantRoot, wantGroup int) {
		t.Helper()
		if root != wantRoot || group != wantGroup {
			t.Errorf("%s: %d and %d wraps, want %d and %d", when, root, group, wantRoot, wantGroup)
		}
		root, group = 0, 0
	}
	r.OnMessage("/a", sameText)
	check("a route", 1, 0)
	g.OnMessage("/b", sameText)
	check("a route in the group", 1, 1)
	for range 3 {
		serveTextOn(t, r, "/a", "-")
		serveTextOn(t, r, "/g/b", "-")
	}
	check("packets", 0, 0)
	g.Use(marked("g2", nil))
	check("Use on the group", 1, 1)
	r.Use(marked("r2", nil))
	check("Use on the root", 2, 1)
	r.With(marked("w", nil)).Use(marked("w2", nil))
	check("Use where no route is", 0, 0)
}

func nilMiddleware(Handler) Handler { return nil }

func TestMiddlewareThatReturnsNil(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/x", sameText)
	r.NotFound(sameText)
	wantPanic(t, func() { r.Use(marked("a", nil), nilMiddleware) },
		"flyrpc: Use at ", "route_test.go:", "the Middleware ", "flyrpc.nilMiddleware returns nil for ", `OnMessage("/x", func(string) (string, error)) at `)
	g := r.With(nilMiddleware)
	wantPanic(t, func() { g.OnMessage("/y", sameText) }, `flyrpc: OnMessage("/y", `, "flyrpc.nilMiddleware returns nil for ")
	if got := serveTextOn(t, r, "/x", "-") + serveTextOn(t, r, "/none", "-") + serveTextOn(t, r, "/y", "-"); got != "---" {
		t.Errorf("something has changed: %s", got)
	}
	r.Use(marked("b", nil))
	if got := serveTextOn(t, r, "/x", "-"); got != "b(-)" {
		t.Errorf("got %s", got)
	}
}

// TestConcurrentRegistration registers, looks up and uses middleware at once; each
// goroutine finds what it has registered.
func TestConcurrentRegistration(t *testing.T) {
	const goroutines, each = 8, 50
	r := NewRouter()
	r.OnMessage("/always", sameText)
	var wraps atomic.Int64
	count := func(next Handler) Handler { wraps.Add(1); return next }
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			group := r.Group(fmt.Sprintf("/%d", g), count)
			for i := range each {
				path := fmt.Sprintf("/%d/{id}", i)
				group.OnMessage(path, sameText)
				if got := serveTextOn(t, r, fmt.Sprintf("/%d/%d/x", g, i), "-"); got != "-" {
					t.Errorf("%s of %d: %s", path, g, got)
				}
				if got := serveTextOn(t, group, "/always", "-"); got != "-" {
					t.Errorf("/always: %s", got)
				}
				if i%10 == 0 {
					group.Use(count)
					group.NotFound(sameText)
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
