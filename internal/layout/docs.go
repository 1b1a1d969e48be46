package layout

import (
	"fmt"
	"go/ast"
)

// Undocumented reports exported names without a doc comment, outside tests,
// generated code and commands. A comment on a group of constants or variables
// is enough for all of it.
func Undocumented(tree *Tree) []string {
	var problems []string
	for _, file := range tree.written() {
		if file.Syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range file.Syntax.Decls {
			for _, name := range undocumented(decl) {
				problems = append(problems, fmt.Sprintf("%s:%d: %s has no doc comment",
					file.Path, tree.line(name.Pos()), name.Name))
			}
		}
	}
	return problems
}

// undocumented returns the exported names of one declaration that have no
// comment.
func undocumented(decl ast.Decl) []*ast.Ident {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Doc == nil && decl.Name.IsExported() && exportedReceiver(decl) {
			return []*ast.Ident{decl.Name}
		}
	case *ast.GenDecl:
		if decl.Doc == nil {
			return undocumentedSpecs(decl.Specs)
		}
	}
	return nil
}

// undocumentedSpecs returns the exported names of a group that have no comment
// of their own.
func undocumentedSpecs(specs []ast.Spec) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
				names = append(names, spec.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if spec.Doc == nil && spec.Comment == nil && name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// exportedReceiver reports whether a function is no method, or one of an
// exported type.
func exportedReceiver(function *ast.FuncDecl) bool {
	if function.Recv == nil || len(function.Recv.List) == 0 {
		return true
	}
	name := typeName(function.Recv.List[0].Type)
	return name != nil && name.IsExported()
}

// typeName returns the name in a receiver's type: T of T, *T and T[P].
func typeName(expr ast.Expr) *ast.Ident {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr
	case *ast.StarExpr:
		return typeName(expr.X)
	case *ast.ParenExpr:
		return typeName(expr.X)
	case *ast.IndexExpr:
		return typeName(expr.X)
	case *ast.IndexListExpr:
		return typeName(expr.X)
	}
	return nil
}
