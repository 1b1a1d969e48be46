package flyrpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

func TestFind(t *testing.T) {
	r := NewRouter()
	for _, path := range []string{"hello", "user.get", "/user/get", "/user/get/", "/user/{id}", "/files/{dir}/{path...}", "{a}/{b}"} {
		r.OnMessage(path, func() {})
	}
	tests := []struct {
		path, route string
		names       []string
		params      []string
	}{
		{"hello", "hello", nil, nil},
		{"user.get", "user.get", nil, nil},
		{"/user/get", "/user/get", nil, nil},
		{"/user/get/", "/user/get/", nil, nil},
		{"/user/7", "/user/{id}", []string{"id"}, []string{"7"}},
		{"/files/a/b/c", "/files/{dir}/{path...}", []string{"dir", "path"}, []string{"a", "b/c"}},
		{"x/y", "{a}/{b}", []string{"a", "b"}, []string{"x", "y"}},
	}
	for _, tt := range tests {
		rt, params, full := r.find([]byte(tt.path))
		if rt == nil {
			t.Errorf("find(%q) = nil", tt.path)
			continue
		}
		if rt.path != tt.route || !slices.Equal(rt.params, tt.names) || !slices.Equal(params, tt.params) || full != tt.path {
			t.Errorf("find(%q) = %q, names %q, params %q, %q", tt.path, rt.path, rt.params, params, full)
		}
		if rt.handler == nil {
			t.Errorf("%q has no handler", rt.path)
		}
	}
	for _, path := range []string{"", "Hello", "/user", "/user/", "/user/7/", "user.put", "\x01\x02"} {
		if rt, params, full := r.find([]byte(path)); rt != nil || params != nil || full != "" {
			t.Errorf("find(%q) = %q, %q, %q", path, rt.path, params, full)
		}
	}
}

func TestFindKeepsNothingOfThePath(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/user/{id}", func() {})
	path := []byte("/user/7")
	_, params, full := r.find(path)
	copy(path, "xxxxxxx")
	if params[0] != "7" || full != "/user/7" {
		t.Errorf("got %q, %q", params, full)
	}
}

func TestFindAllocates(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/user/get", func() {})
	r.OnMessage("/user/{id}", func() {})
	for path, want := range map[string]float64{"/user/get": 0, "/user/7": 2} {
		b := []byte(path)
		if n := memorytest.AllocsPerRun(100, func() { r.find(b) }); n != want {
			t.Errorf("find(%q) allocates %v times, want %v", path, n, want)
		}
	}
}

func TestIndexIsStable(t *testing.T) {
	r := NewRouter()
	r.OnMessage("/b", func() {})
	r.OnMessage("/a", func() {})
	r.Use(marked("x", nil))
	for path, want := range map[string]int{"/b": 0, "/a": 1} {
		if rt, _, _ := r.find([]byte(path)); rt.index != want {
			t.Errorf("index of %q is %d, want %d", path, rt.index, want)
		}
	}
}

func TestNotFound(t *testing.T) {
	r := NewRouter()
	if r.notFound() != nil {
		t.Error("a route without NotFound")
	}
	g := r.Group("/g", marked("g", nil))
	g.NotFound(func(ctx *Context, text string) (string, error) { return "first", nil })
	g.NotFound(func(ctx *Context, text string) (string, error) { return ctx.Path() + " " + text, nil })
	r.Use(marked("r", nil))
	if got := serveTextOn(t, r, "/none", "hi"); got != "r(/none hi)" {
		t.Errorf("got %q", got)
	}
	if rt := r.notFound(); rt.path != "" || rt.opts != 0 {
		t.Errorf("the route has path %q, options %v", rt.path, rt.opts)
	}
	g.Use(marked("g2", nil))
	if got := serveTextOn(t, g, "/none", "hi"); got != "r(/none hi)" {
		t.Errorf("got %q", got)
	}
	if len(r.Routes()) != 0 {
		t.Errorf("routes: %v", r.Routes())
	}
}

func TestRouteOptions(t *testing.T) {
	r := NewRouter()
	tests := []struct {
		opts                           []RouteOption
		text                           string
		ordered, inline, zip, repeated bool
	}{
		{nil, "0", false, false, true, false},
		{[]RouteOption{Ordered}, "Ordered", true, false, true, false},
		{[]RouteOption{Inline}, "Inline", true, true, true, false},
		{[]RouteOption{Ordered, Inline}, "Ordered|Inline", true, true, true, false},
		{[]RouteOption{NoCompress | Idempotent}, "NoCompress|Idempotent", false, false, false, true},
	}
	for i, tt := range tests {
		path := fmt.Sprintf("/%d", i)
		r.OnMessage(path, func() {}, tt.opts...)
		rt, _, _ := r.find([]byte(path))
		o := rt.opts
		if o.String() != tt.text || o.ordered() != tt.ordered || o.inline() != tt.inline ||
			o.noCompress() == tt.zip || o.idempotent() != tt.repeated {
			t.Errorf("%v: %v", tt.opts, o)
		}
		if got := r.Routes()[i].Options; got != o {
			t.Errorf("Routes has %v for %v", got, o)
		}
	}
	if got := (Inline | 0x50).String(); got != "Inline|80" {
		t.Errorf("got %q", got)
	}
}

func TestRoutes(t *testing.T) {
	r := NewRouter()
	r.Group("/b").OnMessage("/{id}", func(int) error { return nil }, Ordered)
	Handle(r, "/a", func(*Context, *testMessage) (*testReply, error) { return nil, nil })
	var got []string
	for _, info := range r.With().Routes() {
		if !strings.HasSuffix(info.File, "router_test.go") || info.Line == 0 {
			t.Errorf("%s is at %s:%d", info.Path, info.File, info.Line)
		}
		got = append(got, fmt.Sprint(info.Path, " ", info.Type, " ", info.Options))
	}
	want := []string{
		"/a func(*flyrpc.Context, *flyrpc.testMessage) (*flyrpc.testReply, error) 0",
		"/b/{id} func(int) error Ordered",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestPathPanics(t *testing.T) {
	tests := []struct{ path, want string }{
		{"", "the path is empty"},
		{strings.Repeat("x", 4097), "the path has 4097 bytes, at most 4096"},
		{"\xff", "the path is not UTF-8"},
		{"a\x00b", "the path has a zero byte"},
		{"\x01b", "the path begins with byte 1"},
		{"fly.hello", "paths that begin with fly. are reserved"},
		{"/a{id}", `segment "a{id}" has a { in its middle`},
		{"/{p...}/x", "must be the last segment"},
		{"/{a}/{a}", "the name a occurs twice"},
	}
	r := NewRouter()
	for _, tt := range tests {
		wantPanic(t, func() { r.OnMessage(tt.path, func() {}) }, "flyrpc: OnMessage(", "func()) at ", "router_test.go:", tt.want)
	}
	for _, path := range []string{strings.Repeat("x", 4096), "fly", "/fly.x", "}", "é", "\x02"} {
		r.OnMessage(path, func() {})
	}
	if n := len(r.Routes()); n != 6 {
		t.Errorf("%d routes", n)
	}
}

func TestRegistrationPanics(t *testing.T) {
	r := NewRouter()
	var none func(*Context, *testMessage) (*testReply, error)
	tests := []struct {
		f     func()
		parts []string
	}{
		{func() { r.OnMessage("/x", nil) }, []string{`flyrpc: OnMessage("/x", nil) at `, "router_test.go:", "the handler is nil"}},
		{func() { r.OnMessage("/x", 7) }, []string{`flyrpc: OnMessage("/x", int) at `, "the handler is no function but of type int"}},
		{func() { r.Group("/g").OnMessage("/x", none) }, []string{`OnMessage("/g/x", func(`, "the handler is nil"}},
		{
			func() { r.OnMessage("/x", func(int, int) error { return nil }) },
			[]string{`flyrpc: OnMessage("/x", func(int, int) error) at `, "router_test.go:", ": two messages, parameter 1 (int) and parameter 2 (int)"},
		},
		{func() { r.OnMessage("/x", func() {}, 64) }, []string{`OnMessage("/x", func())`, "RouteOption 64 is none"}},
		{func() { r.NotFound(func(chan int) {}) }, []string{"flyrpc: NotFound(func(chan int)) at ", "router_test.go:", "a channel"}},
		{func() { Handle(r, "/x", none) }, []string{`flyrpc: Handle("/x", func(*flyrpc.Context`, "router_test.go:", "the handler is nil"}},
		{
			func() { Handle(r, "/x", func(*Context, *Packet) (*testReply, error) { return nil, nil }) },
			[]string{"Handle", "router_test.go:", "flyrpc.Packet can be no message"},
		},
		{
			func() { Handle(r, "/x", func(*Context, *chan int) (*testReply, error) { return nil, nil }) },
			[]string{"Handle", "a channel can be no message"},
		},
		{func() { r.Use(marked("a", nil), nil) }, []string{"flyrpc: Use at ", "router_test.go:", "Middleware 2 is nil"}},
		{func() { r.With(nil) }, []string{"flyrpc: With at ", "router_test.go:", "Middleware 1 is nil"}},
		{func() { r.Group("/g", nil) }, []string{`flyrpc: Group("/g") at `, "router_test.go:", "Middleware 1 is nil"}},
	}
	for _, tt := range tests {
		wantPanic(t, tt.f, tt.parts...)
	}
	if n := len(r.Routes()); n != 0 || r.notFound() != nil || len(r.middleware) != 0 {
		t.Errorf("%d routes, NotFound %v, %d middleware", n, r.notFound(), len(r.middleware))
	}
}

// embedsRouter stands for what embeds a Router, as Server and Client do.
type embedsRouter struct{ *Router }

func TestPlacesInPanics(t *testing.T) {
	var r interface {
		Registrar
		OnMessage(path string, h MessageHandler, opts ...RouteOption)
		Group(prefix string, middleware ...Middleware) *Router
	} = embedsRouter{NewRouter()}
	file, line := callSite() // the lines below count from here
	for i, f := range []func(){
		func() { r.OnMessage("", nil) },
		func() { r.Group("fly.").OnMessage("", func() {}) },
		func() { embedsRouter{NewRouter()}.OnMessage("", func() {}) },
		func() { Handle(r, "", func(*Context, *int) (*int, error) { return nil, nil }) },
		func() { embedsRouter{NewRouter()}.Register("", nil) },
	} {
		wantPanic(t, f, fmt.Sprintf(" at %s:%d: ", file, line+2+i))
	}
}

func TestConflicts(t *testing.T) {
	r := NewRouter()
	file, line := callSite()
	r.OnMessage("/a", func() {})
	r.OnMessage("/u/{id}", func() {})
	r.OnMessage("/f/{p...}", func(string) {})
	tests := []struct {
		path, other string
		line        int
	}{
		{"/a", `OnMessage("/a", func())`, 1},
		{"/u/{name}", `OnMessage("/u/{id}", func())`, 2},
		{"/f/{rest...}", `OnMessage("/f/{p...}", func(string))`, 3},
	}
	for _, tt := range tests {
		wantPanic(t, func() { r.OnMessage(tt.path, func() {}) },
			fmt.Sprintf("OnMessage(%q, func()) at %s:", tt.path, file), fmt.Sprintf("the path %q is that of ", tt.path)+tt.other,
			fmt.Sprintf(" at %s:%d", file, line+tt.line))
	}
	for _, path := range []string{"/u/new", "/u/{id...}", "/f/{p}", "/f/{p}/"} {
		r.OnMessage(path, func() {})
	}
	if n := len(r.Routes()); n != 7 {
		t.Errorf("%d routes", n)
	}
}

func TestHandle(t *testing.T) {
	r := embedsRouter{NewRouter()}
	Handle(r.Group("/g"), "/x", func(_ *Context, m *testMessage) (*testReply, error) {
		switch m.ID {
		case 0:
			return nil, nil
		case 1:
			return &testReply{"dropped"}, Forbidden
		}
		return &testReply{fmt.Sprint(m.ID)}, nil
	}, Idempotent)
	tests := []struct {
		data string
		want any
		err  error
	}{
		{"", nil, nil},
		{`{"ID":1}`, nil, Forbidden},
		{`{"ID":2}`, testReply{"2"}, nil},
	}
	for _, tt := range tests {
		m, err := serveOn(t, r.Router, "/g/x", []byte(tt.data), encodedBody)
		if p, ok := m.(*testReply); ok {
			m = *p
		}
		if m != tt.want || err != tt.err {
			t.Errorf("%q: %#v, %v; want %#v, %v", tt.data, m, err, tt.want, tt.err)
		}
	}
	if m, err := serveOn(t, r.Router, "/g/x", []byte("{"), encodedBody); m != nil || err == nil || !strings.Contains(err.Error(), "BAD_REQUEST") {
		t.Errorf("got %v, %v", m, err)
	}
	if got := r.Routes()[0].Options; got != Idempotent {
		t.Errorf("options: %v", got)
	}
}
