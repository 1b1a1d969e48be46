package flyrpc_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadmeServerAndClient runs the README's server and client, on a free port, and
// compares what the client prints with the README's output.
func TestReadmeServerAndClient(t *testing.T) {
	readme := readFile(t, "README.md")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(blocks) != 2 {
		t.Fatalf("the README has %d Go blocks, want the server and the client", len(blocks))
	}
	server := readFile(t, "examples/server/main.go")
	if _, program, _ := strings.Cut(server, "\npackage main"); "package main"+program != blocks[0][1] {
		t.Error("the README's server is not examples/server/main.go")
	}
	client := readFile(t, "examples/client/main.go")
	if !strings.Contains(client, blocks[1][1]) {
		t.Error("the README's client is not in examples/client/main.go")
	}

	addr := freeAddr(t)
	run := build(t, "./examples/server", "examples/server/main.go", strings.ReplaceAll(server, "localhost:7000", addr))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, run)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	awaitPort(t, ctx, addr)
	got := output(t, ctx, build(t, "./examples/client", "examples/client/main.go", strings.ReplaceAll(client, "localhost:7000", addr)))
	if want := consoleOutput(t, readme, "go run ./examples/client"); got != want {
		t.Errorf("the client printed\n%s\nthe README says\n%s", got, want)
	}
}

// TestReadmeQuickstart runs the quickstart and compares what it prints.
func TestReadmeQuickstart(t *testing.T) {
	readme := readFile(t, "README.md")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := output(t, ctx, build(t, "./examples/quickstart", "", ""))
	if want := consoleOutput(t, readme, "go run ./examples/quickstart"); got != want {
		t.Errorf("the quickstart printed\n%s\nthe README says\n%s", got, want)
	}
}

// TestReadmeCommands checks that the two commands of a fresh clone stand in the
// README and that what they name exists.
func TestReadmeCommands(t *testing.T) {
	readme := readFile(t, "README.md")
	if !strings.Contains(readme, "\ngo run ./examples/quickstart\nmake test\n") {
		t.Error("the README doesn't give the commands for a fresh clone")
	}
	if !regexp.MustCompile(`(?m)^test:`).MatchString(readFile(t, "Makefile")) {
		t.Error("the Makefile has no target test")
	}
	prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(readme, "")
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(prose, -1) {
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("the README links to %s: %v", m[1], err)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// consoleOutput returns what the README says a command prints.
func consoleOutput(t *testing.T, readme, command string) string {
	t.Helper()
	_, after, ok := strings.Cut(readme, "```console\n$ "+command+"\n")
	if !ok {
		t.Fatalf("the README doesn't show %q", command)
	}
	out, _, _ := strings.Cut(after, "```")
	return out
}

// build builds a program, with one file replaced if replace isn't empty, and returns
// the path of the binary.
func build(t *testing.T, pkg, replace, with string) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "program")
	args := []string{"build", "-o", bin}
	if replace != "" {
		file := filepath.Join(dir, "main.go")
		abs, err := filepath.Abs(replace)
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{abs: file}})
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{file: with, filepath.Join(dir, "overlay.json"): string(overlay)} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "-overlay", filepath.Join(dir, "overlay.json"))
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(args, pkg)...).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return bin
}

// output runs a program and returns what it prints.
func output(t *testing.T, ctx context.Context, bin string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, bin).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// freeAddr returns an address of this machine that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitPort waits until somebody listens on addr.
func awaitPort(t *testing.T, ctx context.Context, addr string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("nobody listens on %s: %v", addr, err)
		}
	}
}
