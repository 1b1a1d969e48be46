package layout

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Apart returns the modules that stay out of go.work, with the reason.
func Apart() map[string]string {
	return map[string]string{
		"internal/tools": "it pins linters, and what they need must not reach the other modules",
	}
}

// Modules reports the modules of fsys that go.work does not list: the commands
// of the Makefile would pass them over.
func Modules(fsys fs.FS, apart map[string]string) ([]string, error) {
	work, err := fs.ReadFile(fsys, "go.work")
	if err != nil {
		return nil, err
	}
	listed := used(string(work))
	var problems []string
	err = walk(fsys, func(name string) error {
		dir := path.Dir(name)
		if path.Base(name) == "go.mod" && !slices.Contains(listed, dir) && apart[dir] == "" {
			problems = append(problems, fmt.Sprintf("module %s is not in go.work: add use ./%s", dir, dir))
		}
		return nil
	})
	return problems, err
}

// used returns the folders of a go.work file's use directives.
func used(work string) []string {
	var dirs []string
	inGroup := false
	for line := range strings.Lines(work) {
		line, _, _ = strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == ")":
			inGroup = false
		case fields[0] == "use" && len(fields) > 1 && fields[1] == "(":
			inGroup = true
		case fields[0] == "use" && len(fields) > 1:
			dirs = append(dirs, path.Clean(fields[1]))
		case inGroup:
			dirs = append(dirs, path.Clean(fields[0]))
		}
	}
	return dirs
}
