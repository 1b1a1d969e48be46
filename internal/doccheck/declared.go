package doccheck

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
)

// declarations are what the blocks of a document declare outside functions, by name.
type declarations map[string]*declaration

// declaration is the text of a declaration, with its place, and of the methods if it is a type.
type declaration struct {
	text string
	uses map[string]bool // the names in it
}

// learn keeps what a file declares, but for main.
func (ds declarations) learn(fset *token.FileSet, text string, file *ast.File) {
	base := fset.File(file.FileStart).Base()
	newDeclaration := func(decl ast.Decl) *declaration {
		at := fset.Position(decl.Pos())
		return &declaration{place(at.Filename, at.Line) + text[int(decl.Pos())-base:int(decl.End())-base] + "\n", namesIn(decl)}
	}
	var methods []*ast.FuncDecl
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
			methods = append(methods, f)
			continue
		}
		d := newDeclaration(decl)
		for _, name := range declaredBy(decl) {
			ds[name] = d
		}
	}
	for _, f := range methods {
		m := newDeclaration(f)
		if of := ds[receiver(f)]; of != nil {
			of.text += m.text
			maps.Copy(of.uses, m.uses)
		}
	}
}

// usedBy returns the declarations that a file uses, and those that these use.
func (ds declarations) usedBy(file *ast.File) string {
	left := namesIn(file)
	seen := maps.Clone(left)
	for _, decl := range file.Decls {
		for _, name := range declaredBy(decl) {
			delete(left, name) // it has its own
		}
	}
	var texts []string
	for len(left) > 0 {
		next := map[string]bool{}
		for name := range left {
			d := ds[name]
			if d == nil || slices.Contains(texts, d.text) {
				continue
			}
			texts = append(texts, d.text)
			for used := range d.uses {
				if !seen[used] {
					seen[used], next[used] = true, true
				}
			}
		}
		left = next
	}
	slices.Sort(texts)
	return strings.Join(texts, "")
}

// namesIn returns all names in a piece of code.
func namesIn(node ast.Node) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(node, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names[id.Name] = true
		}
		return true
	})
	return names
}

// declaredBy returns the names that a declaration declares for others. Methods have none.
func declaredBy(decl ast.Decl) []string {
	var names []string
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil && decl.Name.Name != "main" && decl.Name.Name != "_" {
			names = append(names, decl.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}

// receiver returns the name of a method's type.
func receiver(f *ast.FuncDecl) string {
	t := f.Recv.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr:
			t = of.X
		case *ast.IndexListExpr:
			t = of.X
		case *ast.Ident:
			return of.Name
		default:
			return ""
		}
	}
}
