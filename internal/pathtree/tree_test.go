package pathtree

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

// newTree returns a tree of the patterns, each with its own text as value.
func newTree(t testing.TB, patterns ...string) *Tree[string] {
	t.Helper()
	tree := new(Tree[string])
	for _, text := range patterns {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := tree.Add(p, text); !ok {
			t.Fatalf("%q has the shape of %q", text, v)
		}
	}
	return tree
}

func TestMatch(t *testing.T) {
	tree := newTree(t,
		"hello", "{name}", "/user/{id}", "/user/new", "/user/{id}/", "/user/{id}/mail", "/user/new/{what}",
		"/files/{path...}", "/files/{dir}/index", "/files/a/{rest...}", "/a/{x}/c/{y}", "/a/b/{y}/d", "{x}/{y}",
	)
	tests := []struct {
		path, want string
		values     []string
	}{
		{"hello", "hello", nil},
		{"other", "{name}", []string{"other"}},
		{"", "", nil},
		{"/", "", nil},
		{"a/b", "{x}/{y}", []string{"a", "b"}},
		{"a/", "", nil},
		{"/user/7", "/user/{id}", []string{"7"}},
		{"/user/new", "/user/new", nil},
		{"/user/", "", nil},
		{"/user", "", nil},
		{"/user/7/", "/user/{id}/", []string{"7"}},
		{"/user/7//", "", nil},
		{"/user/7/mail", "/user/{id}/mail", []string{"7"}},
		{"/user/new/x", "/user/new/{what}", []string{"x"}},
		{"/user/new/", "/user/{id}/", []string{"new"}}, // back from /user/new/{what}
		{"/files", "", nil},
		{"/files/", "/files/{path...}", []string{""}},
		{"/files/x", "/files/{path...}", []string{"x"}},
		{"/files/x/index", "/files/{dir}/index", []string{"x"}},
		{"/files/x/index/", "/files/{path...}", []string{"x/index/"}},
		{"/files/a/index", "/files/a/{rest...}", []string{"index"}},
		{"/files/a", "/files/{path...}", []string{"a"}},
		{"/files//x", "/files/{path...}", []string{"/x"}},
		{"/a/b/c/d", "/a/b/{y}/d", []string{"c"}},
		{"/a/b/c/e", "/a/{x}/c/{y}", []string{"b", "e"}},
		{"/a/b/x/e", "", nil},
	}
	for _, tt := range tests {
		got, values, ok := tree.Match(tt.path)
		if got != tt.want || ok != (tt.want != "") || !slices.Equal(values, tt.values) {
			t.Errorf("Match(%q) = %q, %q, %v; want %q, %q", tt.path, got, values, ok, tt.want, tt.values)
		}
	}
}

func TestMatchAll(t *testing.T) {
	tree := newTree(t, "{path...}")
	for _, path := range []string{"", "/", "a", "a/b//c/"} {
		if got, values, ok := tree.Match(path); !ok || got != "{path...}" || len(values) != 1 || values[0] != path {
			t.Errorf("Match(%q) = %q, %q, %v", path, got, values, ok)
		}
	}
}

func TestAddRefusesTheSameShape(t *testing.T) {
	for _, pair := range [][2]string{
		{"/a/{x}", "/a/{y}"},
		{"/a/{x...}", "/a/{y...}"},
		{"/{a}/{b}/c", "/{b}/{a}/c"},
		{"/a", "/a"},
	} {
		tree := newTree(t, pair[0])
		p, err := Parse(pair[1])
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := tree.Add(p, "new"); ok || v != pair[0] {
			t.Errorf("Add(%q) after %q = %q, %v", pair[1], pair[0], v, ok)
		}
		if got, _, _ := tree.Match(strings.NewReplacer("{x}", "1", "{x...}", "1", "{a}", "1", "{b}", "1").Replace(pair[0])); got != pair[0] {
			t.Errorf("%q was replaced by %q", pair[0], got)
		}
	}
}

// TestMatchIsBounded holds every pattern of 12 segments out of "a" and {x}, and asks
// for a path that all of them match but for its end.
func TestMatchIsBounded(t *testing.T) {
	const depth = 12
	tree := new(Tree[string])
	for set := range 1 << depth {
		var b strings.Builder
		for i := range depth {
			if set>>i&1 == 0 {
				b.WriteString("a/")
			} else {
				fmt.Fprintf(&b, "{x%d}/", i)
			}
		}
		b.WriteString("end")
		p, err := Parse(b.String())
		if err != nil {
			t.Fatal(err)
		}
		tree.Add(p, b.String())
	}
	miss := strings.Repeat("a/", depth) + "other"
	for _, path := range []string{miss, strings.Repeat("a/", 2048), strings.Repeat("/", 4096)} {
		if got, _, ok := tree.Match(path); ok {
			t.Errorf("%.40q matches %q", path, got)
		}
	}
	if n := memorytest.AllocsPerRun(10, func() { tree.Match(miss) }); n != 0 {
		t.Errorf("a miss allocates %v times", n)
	}
	got, values, ok := tree.Match(strings.Repeat("b/", depth) + "end")
	if !ok || len(values) != depth || !strings.HasPrefix(got, "{x0}/") {
		t.Errorf("got %q, %q, %v", got, values, ok)
	}
}

func TestMatchDepth(t *testing.T) {
	parts := make([]string, MaxSegments)
	for i := range parts {
		parts[i] = fmt.Sprintf("{x%d}", i)
	}
	tree := newTree(t, strings.Join(parts, "/"))
	path := strings.Repeat("a/", MaxSegments-1)
	if _, values, ok := tree.Match(path + "z"); !ok || len(values) != MaxSegments || values[MaxSegments-1] != "z" {
		t.Errorf("the longest pattern: %v, %d values", ok, len(values))
	}
	if _, _, ok := tree.Match(path + "z/z"); ok {
		t.Error("a longer path matches")
	}
}

func BenchmarkMatch(b *testing.B) {
	tree := newTree(b, "/user/{id}", "/user/{id}/mail/{mail}", "/files/{path...}", "/{a}/{b}/{c}/{d}/{e}")
	for _, path := range []string{"/user/7", "/user/7/mail/9", "/files/a/b/c", "/1/2/3/4/5", "/user/7/other"} {
		b.Run(strings.ReplaceAll(path[1:], "/", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tree.Match(path)
			}
		})
	}
}
