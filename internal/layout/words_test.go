package layout

import "testing"

func TestWords(t *testing.T) {
	const todo, fixme = "TO" + "DO", "FIX" + "ME"
	tree := parseTree(t, map[string]string{
		"a.go":      "package p\n\n// " + todo + ": more\nvar s = \"" + fixme + "\"\n",
		"a_test.go": "package p\n\n//" + todo + "\n",
		"b.go":      "package p\n\nvar " + todo + "s, x" + fixme + ", todo = 1, 2, 3\n",
		"notes.md":  todo,
	})
	wantProblems(t, Words(tree), []string{"a.go:3: " + todo, "a.go:4: " + fixme, "a_test.go:3: " + todo})
}
