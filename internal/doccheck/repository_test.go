package doccheck

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// documents returns what is held to the rules: names, from the root, and texts.
func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d documents, %v", len(names), err)
	}
	texts := map[string]string{}
	for _, name := range append(names, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		short, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.ToSlash(short)] = string(text)
	}
	return texts
}

// TestDocuments compiles the Go code of the README and the guides.
func TestDocuments(t *testing.T) {
	var all [][]Block
	for name, text := range documents(t) {
		blocks, err := Blocks(name, text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, blocks)
	}
	problems, err := Check(t.Context(), root, all...)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// TestPrograms runs the programs whose output the documents show.
func TestPrograms(t *testing.T) {
	ran := 0
	for name, text := range documents(t) {
		blocks, err := Blocks(name, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range Programs(blocks) {
			ran++
			t.Run(fmt.Sprintf("%s:%d", p.File, p.Line), func(t *testing.T) {
				t.Parallel()
				got, err := Run(t.Context(), root, p)
				if err != nil {
					t.Errorf("%s:%d: %v", p.File, p.Line, err)
				} else if got != p.Output.Text {
					t.Errorf("%s:%d: the program prints\n%s\nand the document says\n%s", p.Output.File, p.Output.Line, got, p.Output.Text)
				}
			})
		}
	}
	if ran == 0 {
		t.Error("no document has a program with its output")
	}
}

// TestLinks checks that the files exist to which the guides link.
func TestLinks(t *testing.T) {
	fenced, link := regexp.MustCompile("(?ms)^```.*?^```"), regexp.MustCompile(`\]\(([^)#:\s]+)[^):]*\)`)
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
	if !strings.Contains(documents(t)["README.md"], "](docs/PROTOCOL.md)") {
		t.Error("the README doesn't link to the protocol: are links found at all?")
	}
}
