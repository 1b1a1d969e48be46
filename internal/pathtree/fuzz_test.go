package pathtree

import (
	"slices"
	"strings"
	"testing"
)

// naiveMatch tries every pattern and keeps the best by comparing segment by segment.
func naiveMatch(patterns []Pattern, path string) (best int, values []string) {
	best = -1
	for i, p := range patterns {
		if v, ok := naiveValues(p, path); ok && (best < 0 || slices.Compare(ranks(p), ranks(patterns[best])) < 0) {
			best, values = i, v
		}
	}
	return best, values
}

// naiveValues compares one pattern with a path.
func naiveValues(p Pattern, path string) (values []string, ok bool) {
	have, want := strings.Split(path, "/"), p.parts()
	for i, s := range want {
		switch {
		case i >= len(have):
			return nil, false
		case s.kind == rest:
			return append(values, strings.Join(have[i:], "/")), true
		case s.kind == one && have[i] != "":
			values = append(values, have[i])
		case s.kind == one, s.text != have[i]:
			return nil, false
		}
	}
	return values, len(have) == len(want)
}

// ranks orders patterns that match the same path.
func ranks(p Pattern) []segmentKind {
	var r []segmentKind
	for _, s := range p.parts() {
		r = append(r, s.kind)
	}
	return r
}

func FuzzMatch(f *testing.F) {
	f.Add("/user/{id}\n/user/new\n/{p...}", "/user/new")
	f.Add("/a/{x}/c\n/a/b/{y}\n{a}/{b}\n{r...}\n/a/{x}/{y...}", "/a/b/d")
	f.Add("{a}\n{a}/\n/{a}\n/{a}/{b}/{c}\n/{a}/b/{c...}", "//")
	f.Add("a{\n/{a}/{a}\n/{}", "")
	f.Add("é/{é}\n\x00/{x}\n{x}/\xff", "\x00/\xff")
	f.Fuzz(func(t *testing.T, list, path string) {
		tree := new(Tree[int])
		var patterns []Pattern
		shapes := make(map[string]int)
		for _, text := range strings.Split(list, "\n") {
			p, err := Parse(text)
			if err != nil {
				continue
			}
			i, known := shapes[p.Shape()]
			if got, added := tree.Add(p, len(patterns)); added == known || known && got != i {
				t.Fatalf("Add(%q) = %d, %v, but its shape %q is known: %v", p, got, added, p.Shape(), known)
			}
			if known {
				continue
			}
			shapes[p.Shape()] = len(patterns)
			patterns = append(patterns, p)
		}
		want, wantValues := naiveMatch(patterns, path)
		got, values, ok := tree.Match(path)
		if ok != (want >= 0) || ok && (got != want || !slices.Equal(values, wantValues)) {
			t.Fatalf("Match(%q) in %q = %d, %q, %v; want %d, %q", path, patterns, got, values, ok, want, wantValues)
		}
		if ok && len(values) != len(patterns[got].Names()) {
			t.Fatalf("%d values for %q", len(values), patterns[got])
		}
	})
}
