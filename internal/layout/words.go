package layout

import (
	"fmt"
	"regexp"
	"strings"
)

// Words reports marks of unfinished work in Go files: an issue is the place for
// them. The marks are put together here so that this file has none.
func Words(tree *Tree) []string {
	marks := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	var problems []string
	for _, file := range tree.Files {
		for i, line := range strings.Split(file.Text, "\n") {
			if mark := marks.FindString(line); mark != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: finish it, or open an issue", file.Path, i+1, mark))
			}
		}
	}
	return problems
}
