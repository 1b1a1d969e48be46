package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestFiles(t *testing.T) {
	bin, limit := build(t), "-limit=64"
	if raceEnabled() {
		limit = "-limit=256" // the race detector has its own memory
	}
	file, content := filepath.Join(t.TempDir(), "file"), []byte(strings.Repeat("all is well\n", 100_001))
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	steps := "upload: 25%\nupload: 50%\nupload: 75%\nupload: 100%\nupload: N MiB in N s, N MiB/s\n"
	steps += strings.ReplaceAll(steps, "upload", "download")
	for _, tt := range []struct {
		name string
		arg  string
		want string
	}{
		{"made up", "-size=64", steps + "the same 67108864 bytes came back, checksum 1b688c71\n"},
		{"from disk", "-in=" + file, steps + fmt.Sprintf("the same 1200012 bytes came back, checksum %08x\n", sum)},
		{"empty", "-size=0", "upload: N MiB in N s, N MiB/s\ndownload: N MiB in N s, N MiB/s\n" +
			"the same 0 bytes came back, checksum 00000000\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), bin, limit, tt.arg).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want := tt.want + "peak memory: client N MiB, server N MiB\n"
			if got := measured.ReplaceAllString(string(out), "N$1"); got != want {
				t.Errorf("it printed\n%s\nwant\n%s", out, want)
			}
		})
	}
}

// What is measured differs each time.
var measured = regexp.MustCompile(`[0-9.]+( MiB| s,)`)

func TestFilesFails(t *testing.T) {
	bin := build(t)
	for _, tt := range []struct{ name, arg, want string }{
		{"memory", "-limit=1", "MiB of memory is more than 1\n"},
		{"no file", "-in=" + filepath.Join(t.TempDir(), "none"), "none"},
		{"no regular file", "-in=" + t.TempDir(), ": not a regular file\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), bin, "-size=1", tt.arg)
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v, want exit status 1 and %q\n%s", err, tt.want, out)
			}
		})
	}
}

// build builds the program, with the race detector if this test has it, and returns its path.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "files")
	args := []string{"build", "-o", bin}
	if raceEnabled() {
		t.Setenv("GORACE", "atexit_sleep_ms=0")
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return bin
}

// raceEnabled reports whether this test was built with the race detector.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
