package layout

import (
	"strings"
	"testing"
	"testing/fstest"
)

// parseTree loads a made-up repository: the text of each file by its path.
func parseTree(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	tree, err := Load(madeUp(files))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func madeUp(files map[string]string) fstest.MapFS {
	fsys := make(fstest.MapFS)
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// importing writes a Go file that imports names. What begins with a slash, and
// ".", is of this module.
func importing(names ...string) string {
	text := "package p\n"
	for _, name := range names {
		if name == "." || name[0] == '/' {
			name = Module + strings.TrimPrefix(name, ".")
		}
		text += "import _ \"" + name + "\"\n"
	}
	return text
}

// wantProblems checks that there are as many problems as wanted, each with its
// text in it.
func wantProblems(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("problems:\n%s\nwant %d: %q", strings.Join(got, "\n"), len(want), want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("problem %q, want %q in it", got[i], want[i])
		}
	}
}
