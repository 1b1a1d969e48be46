package layout

import (
	"os"
	"testing"
)

// TestRepository holds the repository to every rule.
func TestRepository(t *testing.T) {
	repository := os.DirFS("../..")
	tree, err := Load(repository)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := Modules(repository, Apart())
	if err != nil {
		t.Fatal(err)
	}
	rules := []struct {
		name     string
		problems []string
	}{
		{"Imports", Imports(tree, Packages())},
		{"Borders", Borders(tree, Walls())},
		{"ThirdParty", ThirdParty(tree, Libraries())},
		{"Modules", missing},
		{"Sizes", Sizes(tree)},
		{"Undocumented", Undocumented(tree)},
		{"Variables", Variables(tree, State())},
		{"Words", Words(tree)},
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, problem := range rule.problems {
				t.Error(problem)
			}
		})
	}
}
