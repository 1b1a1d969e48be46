package layout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Imports reports the imports of this module's packages that the table does not
// allow, and the packages that are not in the table.
func Imports(tree *Tree, table map[string]Rule) []string {
	var problems []string
	unknown := make(map[string]bool)
	for _, file := range tree.Files {
		rule, ok := ruleFor(file.Dir, table)
		if !ok {
			unknown[file.Dir] = true
			continue
		}
		problems = append(problems, rule.check(file)...)
	}
	for _, dir := range slices.Sorted(maps.Keys(unknown)) {
		problems = append(problems, fmt.Sprintf(
			"package %s is not in the table: add %q: {Imports: []string{%s}} to Packages in internal/layout/table.go",
			dir, dir, quoted(codeImports(tree, dir))))
	}
	return problems
}

// ruleFor finds the rule of a folder: its own, or the longest that ends in /...
// and has it below.
func ruleFor(dir string, table map[string]Rule) (Rule, bool) {
	if rule, ok := table[dir]; ok {
		return rule, true
	}
	best := ""
	for pattern := range table {
		if matches(pattern, dir) && len(pattern) > len(best) {
			best = pattern
		}
	}
	rule, ok := table[best]
	return rule, ok
}

// check reports what one file imports against the rule of its package. A test
// may import the package that it tests.
func (r Rule) check(file File) []string {
	allowed, field := r.Imports, "Imports"
	if file.Test {
		allowed, field = slices.Concat(r.Imports, r.Tests, []string{file.Dir}), "Tests"
	}
	var problems []string
	for _, name := range file.Imports() {
		if dir, ok := within(name); ok && !matchesAny(allowed, dir) {
			problems = append(problems, fmt.Sprintf(
				"%s imports %s: if the design allows it, add %q to %s of %q in internal/layout/table.go",
				file.Path, name, dir, field, file.Dir))
		}
	}
	return problems
}

// codeImports returns the packages of this module that a folder's code imports.
func codeImports(tree *Tree, dir string) []string {
	found := make(map[string]bool)
	for _, file := range tree.Files {
		if file.Dir != dir || file.Test {
			continue
		}
		for _, name := range file.Imports() {
			if to, ok := within(name); ok {
				found[to] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// quoted writes names as the elements of a Go slice.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(list, ", ")
}
