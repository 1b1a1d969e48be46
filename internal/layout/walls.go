package layout

import "fmt"

// Borders reports the imports that cross a wall. Tests may look over it: only
// code is held to the walls.
func Borders(tree *Tree, walls []Wall) []string {
	var problems []string
	for _, file := range tree.Files {
		if file.Test {
			continue
		}
		for _, wall := range walls {
			problems = append(problems, wall.check(file)...)
		}
	}
	return problems
}

// check reports the imports of one file that cross the wall.
func (w Wall) check(file File) []string {
	if !matches(w.From, file.Dir) {
		return nil
	}
	var problems []string
	for _, name := range file.Imports() {
		dir, ok := within(name)
		if ok && (matchesAny(w.Not, dir) || w.Only != nil && !matchesAny(w.Only, dir)) {
			problems = append(problems, fmt.Sprintf("%s imports %s: %s", file.Path, name, w.Why))
		}
	}
	return problems
}
