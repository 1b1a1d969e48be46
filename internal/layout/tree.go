package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Tree is every Go file of a repository, in the order of the paths.
type Tree struct {
	Files []File
	fset  *token.FileSet
}

// File is one parsed Go file. Paths are slash-separated, from the root of the
// repository, which is itself ".".
type File struct {
	Path      string
	Dir       string
	Test      bool // the name ends in _test.go
	Generated bool
	Text      string
	Syntax    *ast.File
}

// Load parses every Go file of fsys, whatever its build constraints. It leaves
// out what the go command does: testdata, vendor, and names that begin with a
// dot or an underscore; and node_modules.
func Load(fsys fs.FS) (*Tree, error) {
	tree := &Tree{fset: token.NewFileSet()}
	err := walk(fsys, func(name string) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		return tree.add(fsys, name)
	})
	return tree, err
}

// walk calls visit with each file that belongs to the repository.
func walk(fsys fs.FS, visit func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && leftOut(entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || leftOut(entry.Name()):
			return nil
		}
		return visit(name)
	})
}

// leftOut reports whether a file or folder of that name is no part of the tree.
func leftOut(name string) bool {
	switch name {
	case ".":
		return false
	case "testdata", "vendor", "node_modules":
		return true
	}
	return name[0] == '.' || name[0] == '_'
}

// add parses one file.
func (t *Tree) add(fsys fs.FS, name string) error {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Files = append(t.Files, File{
		Path:      name,
		Dir:       path.Dir(name),
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(syntax),
		Text:      string(text),
		Syntax:    syntax,
	})
	return nil
}

// Imports returns the import paths of the file.
func (f File) Imports() []string {
	var list []string
	for _, spec := range f.Syntax.Imports {
		name, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		list = append(list, name)
	}
	return list
}

// line returns the line a position is on.
func (t *Tree) line(pos token.Pos) int {
	return t.fset.Position(pos).Line
}

// written returns the files that people wrote and that are not tests.
func (t *Tree) written() []File {
	var list []File
	for _, f := range t.Files {
		if !f.Test && !f.Generated {
			list = append(list, f)
		}
	}
	return list
}

// within strips the module from an import path: "" and false for a path of
// another module, "." for the root package.
func within(importPath string) (string, bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// matches reports whether dir is the pattern, or below it when the pattern ends
// in /...; "..." alone matches every folder.
func matches(pattern, dir string) bool {
	if pattern == "..." {
		return true
	}
	if above, ok := strings.CutSuffix(pattern, "/..."); ok {
		return dir == above || strings.HasPrefix(dir, above+"/")
	}
	return pattern == dir
}

// matchesAny reports whether one of the patterns matches dir.
func matchesAny(patterns []string, dir string) bool {
	for _, pattern := range patterns {
		if matches(pattern, dir) {
			return true
		}
	}
	return false
}
