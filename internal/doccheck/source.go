package doccheck

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Known returns the packages that fragments needn't import.
func Known() []string {
	const module = "github.com/go-flyrpc/flyrpc"
	return []string{
		module, module + "/transport", module + "/transport/websocket",
		module + "/service", module + "/service/membus", module + "/service/bustest",
		module + "/serializer", module + "/serializer/json", module + "/serializer/msgpack", module + "/serializer/protobuf",
		"bufio", "context", "crypto/tls", "crypto/x509", "errors", "fmt", "io", "iter", "log", "log/slog", "net", "net/http", "os", "os/exec", "os/signal", "slices", "strings", "sync", "testing", "time",
	}
}

// Scope declares the variables that statements find.
const Scope = "ctx context.Context, srv *flyrpc.Server, cli *flyrpc.Client, conn *flyrpc.Conn"

// document is what is known of a document up to a block.
type document struct {
	fset     *token.FileSet
	imports  map[string]string // paths by the names that files use
	declared declarations
}

// sources returns the Go files that the blocks of one document make, with the positions of the document. Blocks that
// can't be parsed, or that gofmt would change, are problems.
func sources(fset *token.FileSet, blocks []Block) (files []*ast.File, problems []string) {
	d := &document{fset: fset, imports: map[string]string{}, declared: declarations{}}
	for _, p := range Known() {
		d.imports[path.Base(p)] = p
	}
	for _, b := range blocks {
		if !isGo(b) {
			continue
		}
		file, err := d.file(b)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if formatted, err := format.Source([]byte(b.Text)); err != nil || string(formatted) != b.Text {
			problems = append(problems, fmt.Sprintf("%s:%d: the block is not in gofmt's format", b.File, b.Line))
		}
		files = append(files, file)
	}
	return files, problems
}

// isFile reports whether a block is a whole file.
func isFile(b Block) bool {
	_, err := parser.ParseFile(token.NewFileSet(), "", b.Text, parser.PackageClauseOnly)
	return err == nil
}

// file returns the file that a block makes.
func (d *document) file(b Block) (*ast.File, error) {
	if !isFile(b) {
		return d.fragment(b)
	}
	text := place(b.File, b.Line) + b.Text
	file, err := d.parse(text)
	if err != nil {
		return nil, err
	}
	d.learnImports(file)
	d.declared.learn(d.fset, text, file)
	return file, nil
}

// fragment returns the file that a fragment makes.
func (d *document) fragment(b Block) (*ast.File, error) {
	text := place(b.File, b.Line) + b.Text
	alone, err := d.parse("package doc\n" + text)
	statements := err != nil
	if statements {
		text = "func _(" + Scope + ") error {{\n" + text + "\n}\nreturn nil }\n"
		var other error
		if alone, other = d.parse("package doc\n" + text); other != nil {
			return nil, further(err, other)
		}
	}
	body := d.declared.usedBy(alone) + text
	all, err := d.parse("package doc\n" + body)
	if err != nil {
		return nil, err
	}
	file, err := d.parse("package doc\n" + d.needed(all) + body)
	if !statements {
		d.declared.learn(d.fset, "package doc\n"+text, alone)
	}
	return file, err
}

// place is a comment that gives what follows a place in a document. See the go command's
// documentation of line directives.
func place(file string, line int) string { return fmt.Sprintf("//line %s:%d\n", file, line) }

// parse parses a file without a name: its positions are those that its line directives give.
func (d *document) parse(text string) (*ast.File, error) {
	return parser.ParseFile(d.fset, "", text, parser.SkipObjectResolution|parser.ParseComments)
}

// further returns the error that comes later in the document: that reading understood more.
func further(declarations, statements error) error {
	if at(declarations) > at(statements) {
		return declarations
	}
	return statements
}

// learnImports keeps what a file imports.
func (d *document) learnImports(file *ast.File) {
	for _, spec := range file.Imports {
		name := path.Base(importPath(spec))
		if spec.Name != nil {
			name = spec.Name.Name
		}
		d.imports[name] = importPath(spec)
	}
}

// needed returns the imports, on one line, of what a file mentions.
func (d *document) needed(file *ast.File) string {
	specs := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && d.imports[x.Name] != "" {
				specs[x.Name+" "+strconv.Quote(d.imports[x.Name])] = true
			}
		}
		return true
	})
	return "import (" + strings.Join(slices.Sorted(maps.Keys(specs)), "; ") + ")\n"
}

func importPath(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
	return p
}
