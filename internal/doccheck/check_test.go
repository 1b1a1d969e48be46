package doccheck

import (
	"slices"
	"strings"
	"testing"
)

// check returns the problems of a document whose Go blocks are given; a block begins on the line
// that is ten times its number.
func check(t *testing.T, texts ...string) []string {
	t.Helper()
	var blocks []Block
	for i, text := range texts {
		blocks = append(blocks, Block{"d.md", 10 + i*10, "go", text}, Block{"d.md", 19 + i*10, "console", "$ no Go"})
	}
	problems, err := Check(t.Context(), root, blocks)
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestCheckPasses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		blocks []string
	}{
		{"nothing", nil},
		{"a file", []string{"package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n"}},
		{"statements", []string{"x := 1\nfmt.Println(x)"}},
		{"statements that return", []string{"if ctx.Err() != nil {\n\treturn ctx.Err()\n}\nreturn nil"}},
		{"Scope", []string{"fmt.Println(ctx, srv, cli, conn)", "srv := 1\nfmt.Println(srv)", ""}},
		{"declarations", []string{"type T struct{ n int }\n\nfunc (t *T) get() int { return t.n }", "fmt.Println(new(T).get())"}},
		{"a method before its type", []string{"func (t T) get() int { return t.n }\n\ntype T struct{ n int }", "fmt.Println(T{}.get())"}},
		{"generic", []string{"type T[K any] struct{ n K }\n\nfunc (t *T[K]) get() K { return t.n }", "var _ int = new(T[int]).get()"}},
		{"two parameters", []string{"type T[K, V any] struct{ v V }\n\nfunc (t T[K, V]) get() V { return t.v }", "var _ int = T[int, int]{}.get()"}},
		{"what declarations use", []string{"const a, b = 1, 2", "func f() int { return a + b }", "fmt.Println(f())"}},
		{"the latest", []string{"type T struct{ a int }", "fmt.Println(T{}.a)", "type T struct{ b int }", "fmt.Println(T{}.b)"}},
		{"what was replaced, unused", []string{"type T int\n\nfunc old(t T) int { return 1 + int(t) }", "type T string", "fmt.Println(T(\"x\"))"}},
		{"one's own name", []string{"type T int\n\nfunc f() T { return 0 }", "type T string\n\nvar t = \"\" + T(\"\")"}},
		{"of a file", []string{"package main\n\nimport r \"math/rand\"\n\ntype T int\n\nfunc f() int { return r.Int() }\n\nfunc main() {}\n", "fmt.Println(T(f()), r.Int())"}},
		{"two files", []string{"package main\n\ntype T int\n\nfunc main() {}\n", "package main\n\ntype T string\n\nfunc main() {}\n"}},
		{"this module", []string{"return flyrpc.Errorf(flyrpc.Busy, \"later\")"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if problems := check(t, tt.blocks...); len(problems) > 0 {
				t.Error(strings.Join(problems, "\n"))
			}
		})
	}
}

func TestCheckFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		blocks []string
		want   []string // what the problems begin with
	}{
		{"an unknown name", []string{"fmt.Println(1)\nfmt.Println(nope)"}, []string{"d.md:11: undefined: nope"}},
		{"a wrong type", []string{"var n int = \"x\""}, []string{"d.md:10: cannot use"}},
		{"an unused variable", []string{"x := 1"}, []string{"d.md:10: declared and not used: x"}},
		{"an unused import", []string{"package main\n\nimport \"fmt\"\n\nfunc main() {}\n"}, []string{`d.md:12: "fmt" imported and not used`}},
		{"no import", []string{"package main\n\nfunc main() { fmt.Println() }\n"}, []string{"d.md:12: undefined: fmt"}},
		{"no package", []string{"package main\n\nimport _ \"no.such/package\"\n"}, []string{"d.md:12: could not import no.such/package (there is no such package"}},
		{"no method", []string{"cli.Cal(ctx)"}, []string{"d.md:10: cli.Cal undefined"}},
		{"no statement", []string{"x := 1\nfmt.Println(x\n"}, []string{"d.md:11: "}},
		{"no declaration", []string{"type T struct {\n\tn int\n\tm +\n}"}, []string{"d.md:12:"}},
		{"no file", []string{"package main\n\nfunc {\n"}, []string{"d.md:12:"}},
		{"a declaration that others use", []string{"func f() int { return nope }", "fmt.Println(f())"}, []string{"d.md:10: undefined: nope"}},
		{"of another function", []string{"x := 1\n_ = x", "fmt.Println(x)"}, []string{"d.md:20: undefined: x"}},
		{"main isn't seen", []string{"package main\n\nfunc main() {}\n", "main()"}, []string{"d.md:20: undefined: main"}},
		{"not formatted", []string{"fmt.Println( 1 )\n"}, []string{"d.md:10: the block is not in gofmt's format"}},
		{"two", []string{"nope()", "nope()"}, []string{"d.md:10: ", "d.md:20: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := check(t, tt.blocks...)
			ok := slices.EqualFunc(problems, tt.want, strings.HasPrefix)
			if !ok {
				t.Errorf("got\n%s\nwant what begins with\n%s", strings.Join(problems, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestCheckWithoutGo(t *testing.T) {
	blocks := []Block{{"d.md", 1, "go", "fmt.Println()"}}
	if _, err := Check(t.Context(), "/no/such/folder", blocks); err == nil {
		t.Error("a folder that isn't there")
	}
	if err := touch(t.TempDir() + "/["); err == nil {
		t.Error("a folder that can't be read")
	}
}

func TestRun(t *testing.T) {
	for _, tt := range []struct{ name, text, out, err string }{
		{"prints nothing", "package main\n\nfunc main() { println(\"to standard error\") }\n", "", ""},
		{"of this module", "package main\n\nimport (\n\t\"fmt\"\n\n\t\"github.com/go-flyrpc/flyrpc\"\n)\n\nfunc main() { fmt.Println(flyrpc.Busy) }\n", "BUSY\n", ""},
		{"can't be built", "package main\n\nfunc main() { nope() }\n", "", "undefined: nope"},
		{"fails", "package main\n\nfunc main() { panic(\"at the disco\") }\n", "", "at the disco"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := Run(t.Context(), root, Program{Block: Block{Text: tt.text}})
			if out != tt.out || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q, %q", out, err, tt.out, tt.err)
			}
		})
	}
}
