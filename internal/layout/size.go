package layout

import (
	"fmt"
	"go/ast"
)

// The longest file and function, in lines.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

// Sizes reports files and functions that are too long, outside tests and
// generated code.
func Sizes(tree *Tree) []string {
	var problems []string
	for _, file := range tree.written() {
		if lines := tree.line(file.Syntax.FileEnd); lines > maxFileLines {
			problems = append(problems, fmt.Sprintf(
				"%s has %d lines: split it, %d is the most", file.Path, lines, maxFileLines))
		}
		for _, decl := range file.Syntax.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			begin := tree.line(function.Pos())
			if lines := tree.line(function.End()) - begin + 1; lines > maxFunctionLines {
				problems = append(problems, fmt.Sprintf("%s:%d: %s has %d lines: split it, %d is the most",
					file.Path, begin, function.Name.Name, lines, maxFunctionLines))
			}
		}
	}
	return problems
}
