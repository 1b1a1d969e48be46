package layout

import (
	"fmt"
	"slices"
	"strings"
)

// ThirdParty reports the imports of other modules that are not in the table, or
// stand in another place than it says, and the modules that must be used and
// are not.
func ThirdParty(tree *Tree, table []Library) []string {
	var problems []string
	users := make(map[string][]string) // the files of code that import a module
	for _, file := range tree.Files {
		for _, name := range file.Imports() {
			if !isThirdParty(name) {
				continue
			}
			library, ok := libraryOf(name, table)
			if problem := library.check(ok, name, file); problem != "" {
				problems = append(problems, problem)
			}
			if !file.Test && !slices.Contains(users[library.Path], file.Path) {
				users[library.Path] = append(users[library.Path], file.Path)
			}
		}
	}
	for _, library := range table {
		problems = append(problems, library.checkUse(users[library.Path])...)
	}
	return problems
}

// isThirdParty reports whether an import path is neither of the standard
// library, where the first element has no dot, nor of this module.
func isThirdParty(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	_, ours := within(name)
	return strings.Contains(first, ".") && !ours
}

// libraryOf finds the module that an import path belongs to.
func libraryOf(name string, table []Library) (Library, bool) {
	for _, library := range table {
		if name == library.Path || strings.HasPrefix(name, library.Path+"/") {
			return library, true
		}
	}
	return Library{}, false
}

// check returns what is wrong with one import of the library, "" for nothing.
func (l Library) check(known bool, name string, file File) string {
	allowed := l.In
	if file.Test {
		allowed = slices.Concat(l.In, l.Tests)
	}
	switch {
	case !known:
		return fmt.Sprintf("%s imports %s: add its module, and the one place it belongs in, to Libraries in internal/layout/table.go",
			file.Path, name)
	case !matchesAny(allowed, file.Dir):
		return fmt.Sprintf("%s imports %s, which belongs in %s alone", file.Path, name, l.place())
	}
	return ""
}

// place says where the library belongs.
func (l Library) place() string {
	if len(l.In) == 0 {
		return "tests"
	}
	return strings.Join(l.In, ", ")
}

// checkUse reports a library that too many or too few files of code import.
func (l Library) checkUse(files []string) []string {
	switch {
	case l.Used && len(files) == 0:
		return []string{fmt.Sprintf("%s is imported nowhere outside tests: it must be used in %s", l.Path, l.place())}
	case l.OneFile && len(files) > 1:
		return []string{fmt.Sprintf("%s is imported in %s: one file is to know it", l.Path, strings.Join(files, " and "))}
	}
	return nil
}
