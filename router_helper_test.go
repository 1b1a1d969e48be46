package flyrpc

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// newTestContext returns the Context of a packet with a path and a body, without a
// connection.
func newTestContext(t testing.TB, path string, data []byte, kind bodyKind, ser serializer.Serializer) *Context {
	t.Helper()
	return &Context{in: &incoming{path: path, body: body{data: data, kind: kind, ser: ser}}}
}

// stdJSON returns a Serializer made of encoding/json.
func stdJSON() serializer.Serializer {
	return serializer.Adapt("json", json.Marshal, json.Unmarshal)
}

// serveOn has r handle a packet as dispatch does, and returns the handler's results.
func serveOn(t testing.TB, r *Router, path string, data []byte, kind bodyKind) (any, error) {
	t.Helper()
	rt, params, full := r.find([]byte(path))
	if rt == nil {
		if rt = r.notFound(); rt == nil {
			return nil, NotFound
		}
		full = path
	}
	ctx := newTestContext(t, full, data, kind, stdJSON())
	ctx.in.route, ctx.in.params = rt, params
	return rt.handler(ctx)
}

// serveTextOn does what serveOn does with a raw text, and returns the results as a text.
func serveTextOn(t testing.TB, r *Router, path, text string) string {
	t.Helper()
	m, err := serveOn(t, r, path, []byte(text), textBody)
	if err != nil {
		return "error " + err.Error()
	}
	return fmt.Sprint(m)
}

// panicText returns what f panics with, as a text.
func panicText(t testing.TB, f func()) (text string) {
	t.Helper()
	defer func() { text = fmt.Sprint(recover()) }()
	f()
	return ""
}

// wantPanic checks that f panics with a text that has all parts in their order.
func wantPanic(t testing.TB, f func(), parts ...string) {
	t.Helper()
	text := panicText(t, f)
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("panic %q\nhas no %q", text, part)
			return
		}
		rest = after
	}
}
