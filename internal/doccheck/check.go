package doccheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/scanner"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Check type-checks the Go blocks of documents, given by their blocks, and returns what is wrong
// with them, each with document and line. It runs the go command in dir, whose module, or workspace, is the one that
// the blocks import packages of. The error is that it couldn't check.
func Check(ctx context.Context, dir string, documents ...[]Block) (problems []string, err error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, blocks := range documents {
		more, wrong := sources(fset, blocks)
		files = append(files, more...)
		problems = append(problems, wrong...)
	}
	exports, err := exports(ctx, dir, files)
	if err != nil {
		return nil, err
	}
	config := types.Config{
		Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
			if exports[path] == "" {
				return nil, errors.New("there is no such package, or it can't be compiled")
			}
			return os.Open(exports[path])
		}),
		Error: func(err error) { problems = append(problems, err.Error()) },
	}
	for _, file := range files {
		_, _ = config.Check("doc", fset, []*ast.File{file}, nil) // Error has the errors
	}
	slices.Sort(problems)
	return slices.Compact(problems), nil // fragments repeat what others declare
}

// exports has the packages that files import compiled, and what these import, and returns the names of the
// files with what they export.
func exports(ctx context.Context, dir string, files []*ast.File) (map[string]string, error) {
	paths := map[string]bool{}
	for _, file := range files {
		for _, spec := range file.Imports {
			paths[importPath(spec)] = true
		}
	}
	found := map[string]string{}
	if len(paths) == 0 {
		return found, nil
	}
	const format = `{{.ImportPath}}|{{.Export}}|{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}`
	args := append([]string{"list", "-e", "-export", "-deps", "-f", format, "--"}, slices.Sorted(maps.Keys(paths))...)
	out, err := run(ctx, dir, "go", args...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		path, rest, _ := strings.Cut(strings.TrimSpace(line), "|")
		export, own, _ := strings.Cut(rest, "|")
		found[path] = export
		if err := touch(own); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// touch reads the files of a folder. What a child process reads doesn't keep the go command from taking
// a test's result from its cache, but what the test reads does.
func touch(dir string) error {
	if dir == "" {
		return nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, name := range names {
		_, failed := os.ReadFile(name)
		err = errors.Join(err, failed)
	}
	return err
}

// Run builds a program in dir's module and returns what it prints.
func Run(ctx context.Context, dir string, p Program) (output string, err error) {
	temp, err := os.MkdirTemp("", "doccheck")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	file, bin := filepath.Join(temp, "main.go"), filepath.Join(temp, "program")
	if err := os.WriteFile(file, []byte(p.Text), 0o600); err != nil {
		return "", err
	}
	if _, err := run(ctx, dir, "go", "build", "-ldflags=-s -w", "-o", bin, file); err != nil {
		return "", err
	}
	return run(ctx, dir, bin)
}

// run runs a command and returns its output. The error has what it wrote to standard error.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, complaints bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, &complaints)
	}
	return out.String(), nil
}

// at returns the line of a parser's first error.
func at(err error) int {
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return list[0].Pos.Line
	}
	return 0
}
