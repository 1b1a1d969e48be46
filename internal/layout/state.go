package layout

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"slices"
)

// State is the allowlist of package-level variables that may change, with the
// reason for each: the key is folder.name, as in "internal/pool.buffers".
func State() map[string]string {
	return map[string]string{}
}

// Variables reports package-level variables that hold state, as far as their
// declaration tells: maps, channels, what package sync or sync/atomic has, and
// plain values that could be constants. It reports entries of the allowlist
// that name nothing, too.
func Variables(tree *Tree, allowed map[string]string) []string {
	var problems []string
	unused := maps.Clone(allowed)
	for _, file := range tree.written() {
		for _, found := range stateOf(file.Syntax) {
			key := file.Dir + "." + found.name.Name
			delete(unused, key)
			if allowed[key] == "" {
				problems = append(problems, fmt.Sprintf(
					"%s:%d: %s is state (%s) that the whole package shares: keep it in a value, or give the reason under %q in State",
					file.Path, tree.line(found.name.Pos()), found.name.Name, found.kind, key))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(unused)) {
		problems = append(problems, fmt.Sprintf("State allows %q, which is no such variable: remove it", key))
	}
	return problems
}

// variable is a package-level variable that holds state.
type variable struct {
	name *ast.Ident
	kind string
}

// stateOf returns the variables of one file that hold state.
func stateOf(file *ast.File) []variable {
	var found []variable
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			found = append(found, stateOfSpec(spec.(*ast.ValueSpec))...)
		}
	}
	return found
}

// stateOfSpec returns the names of one line of a var group that hold state.
func stateOfSpec(spec *ast.ValueSpec) []variable {
	var found []variable
	for i, name := range spec.Names {
		kind := stateKind(spec.Type)
		if kind == "" && i < len(spec.Values) {
			kind = stateKind(spec.Values[i])
		}
		if kind != "" && name.Name != "_" {
			found = append(found, variable{name, kind})
		}
	}
	return found
}

// stateKind says what state a type or a value is, "" for none.
func stateKind(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.MapType:
		return "map"
	case *ast.ChanType:
		return "channel"
	case *ast.BasicLit:
		return "plain value"
	case *ast.Ident:
		return plainKind(expr.Name)
	case *ast.SelectorExpr:
		return syncKind(expr)
	case *ast.StructType:
		return fieldsKind(expr)
	case *ast.CallExpr:
		return callKind(expr)
	}
	if inner := innerExpr(expr); inner != nil {
		return stateKind(inner)
	}
	return ""
}

// innerExpr returns what decides about an expression that only wraps another.
func innerExpr(expr ast.Expr) ast.Expr {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return expr.X
	case *ast.UnaryExpr:
		return expr.X
	case *ast.CompositeLit:
		return expr.Type
	case *ast.IndexExpr:
		return expr.X
	case *ast.ParenExpr:
		return expr.X
	}
	return nil
}

// plainKind knows the names of the types and values that constants can have.
func plainKind(name string) string {
	switch name {
	case "bool", "string", "byte", "rune", "true", "false", "float32", "float64",
		"int", "int8", "int16", "int32", "int64",
		"uint", "uint8", "uint16", "uint32", "uint64":
		return "plain value"
	}
	return ""
}

// syncKind knows package sync and sync/atomic by name.
func syncKind(expr *ast.SelectorExpr) string {
	name, ok := expr.X.(*ast.Ident)
	if ok && (name.Name == "sync" || name.Name == "atomic") {
		return name.Name + "." + expr.Sel.Name
	}
	return ""
}

// fieldsKind returns the kind of the first field that is state.
func fieldsKind(expr *ast.StructType) string {
	for _, field := range expr.Fields.List {
		if kind := stateKind(field.Type); kind != "" {
			return kind
		}
	}
	return ""
}

// callKind looks at what make and new make, and at the functions of sync.
func callKind(expr *ast.CallExpr) string {
	name, ok := expr.Fun.(*ast.Ident)
	if ok && (name.Name == "make" || name.Name == "new") && len(expr.Args) > 0 {
		return stateKind(expr.Args[0])
	}
	if selector, ok := expr.Fun.(*ast.SelectorExpr); ok {
		return syncKind(selector)
	}
	return ""
}
