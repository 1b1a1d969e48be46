package middleware

import (
	"strings"
	"testing"
)

func TestRulesFind(t *testing.T) {
	rs, err := newRules([]Rule{
		Public("/a"),
		Roles("/a/...", "r"),
		Authenticated("/a/b/..."),
		Public("/a/b/c"),
		Public("user.get"),
		Public("/"),
		Authenticated("/..."),
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/a":       "/a",
		"/a/":      "/a/...",
		"/a/x":     "/a/...",
		"/a/x/y":   "/a/...",
		"/a/b":     "/a/...",
		"/a/b/":    "/a/b/...",
		"/a/b/x":   "/a/b/...",
		"/a/b/c":   "/a/b/c",
		"/a/b/c/":  "/a/b/...",
		"/a/b/c/d": "/a/b/...",
		"/ab":      "/...",
		"/A":       "/...",
		"/a//b/c":  "/a/...",
		"/":        "/",
		"user.get": "user.get",
		"user.set": "",
		"":         "",
		"a":        "",
	} {
		got := ""
		if r := rs.of(path); r != nil {
			got = r.pattern
		}
		if got != want {
			t.Errorf("the rule of %q is %q, want %q", path, got, want)
		}
	}
	if rs, err = newRules([]Rule{Public("..."), Roles("/x", "r")}); err != nil || rs.of("").pattern != "..." || rs.of("/x").pattern != "/x" {
		t.Error(err)
	}
}

func TestRulesFaults(t *testing.T) {
	for _, tt := range []struct {
		rules []Rule
		want  []string
	}{
		{[]Rule{{}}, []string{"a Rule is empty"}},
		{[]Rule{Public("")}, []string{"the pattern of a Rule is empty"}},
		{[]Rule{Public("/a...")}, []string{`"/a..."`, "behind a slash"}},
		{[]Rule{Public("/.../a")}, []string{`"/.../a"`, "at the end only"}},
		{[]Rule{Public("/.../a/...")}, []string{"at the end only"}},
		{[]Rule{Public("/user/{id}")}, []string{`"/user/{id}"`, "braces"}},
		{[]Rule{Roles("/a")}, []string{`"/a"`, "there is no role"}},
		{[]Rule{Roles("/a", "r", "")}, []string{"or an empty one"}},
		{[]Rule{Public("/a"), Roles("/a", "r")}, []string{`two rules for the pattern "/a"`}},
		{[]Rule{Public("/a/..."), Public("/b"), Public("/a/...")}, []string{`two rules for the pattern "/a/..."`}},
		{[]Rule{Public(""), Roles("/a"), Public("..."), Public("...")}, []string{"is empty", "no role", `two rules for the pattern "..."`}},
	} {
		_, err := newRules(tt.rules)
		if err == nil {
			t.Errorf("%v: no error", tt.rules)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v; want %s", tt.rules, err, want)
			}
		}
	}
}

// FuzzRules compares the rule that is found with the one that a plain reading of the rules' description finds.
func FuzzRules(f *testing.F) {
	f.Add("/a /a/... /a/b/... ...", "/a/b/c")
	f.Add("user.get /...", "user.get")
	f.Add("/... /x/...", "/x/")
	f.Add("/a /a", "/a")
	f.Add("... 0/...", "")
	f.Fuzz(func(t *testing.T, patterns, path string) {
		var given []Rule
		for _, p := range strings.Split(patterns, " ") {
			given = append(given, Authenticated(p))
		}
		rs, err := newRules(given)
		if err != nil {
			for i, a := range given {
				if a.check() != nil {
					return
				}
				for _, b := range given[:i] {
					if a.pattern == b.pattern {
						return
					}
				}
			}
			t.Fatalf("%q: %v", patterns, err)
		}
		want := ""
		for _, r := range given {
			if prefix, ok := strings.CutSuffix(r.pattern, "..."); ok && strings.HasPrefix(path, prefix) && len(r.pattern) > len(want) {
				want = r.pattern
			}
		}
		for _, r := range given {
			if r.pattern == path && !strings.HasSuffix(path, "...") {
				want = path
			}
		}
		got := ""
		if r := rs.of(path); r != nil {
			got = r.pattern
		}
		if got != want {
			t.Errorf("of %q the rule of %q is %q, want %q", patterns, path, got, want)
		}
	})
}

// FuzzRequestID: an id that is taken can be written to a log as it is.
func FuzzRequestID(f *testing.F) {
	for _, id := range []string{"", "r-1", "a b", "a\n", "é", strings.Repeat("x", 65)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		plain := len(id) >= 1 && len(id) <= 64
		for _, r := range id {
			plain = plain && r > ' ' && r < 0x7f
		}
		if validRequestID(id) != plain {
			t.Errorf("%q: %v", id, !plain)
		}
	})
}
