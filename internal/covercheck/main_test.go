package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const good = "mode: set\n" +
		module + "a/x.go:1.2,3.4 17 1\n" +
		module + "a/x.go:5.2,6.4 3 0\n" +
		module + "examples/chat/main.go:1.1,2.2 4 0\n"
	const low = good + module + "b/y.go:1.1,2.2 1 0\n"
	tests := []struct {
		name, profile string
		args          []string
		want          string // in the output
		wantErr       string
	}{
		{"enough", good, nil, "ok    85.0%  " + module + "a\n", ""},
		{"examples are not judged", good, nil, "skip   0.0%  " + module + "examples/chat (programs", ""},
		{"untested", low, nil, "LOW    0.0%  " + module + "b\n", "1 of 3 packages"},
		{"a higher minimum", good, []string{"-min", "85.1"}, "LOW   85.0%", "under 85.1%"},
		{"empty", "mode: set\n", nil, "", "empty"},
		{"not a profile", "hello\n", nil, "", "not a cover profile"},
		{"no such flag", good, []string{"-x"}, "Usage", "not defined"},
		{"two files", good, []string{"more"}, "", "usage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			args := append(tt.args, writeProfile(t, tt.profile))
			err := run(args, &out)
			wantError(t, err, tt.wantErr)
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("output %q, want %q in it", out.String(), tt.want)
			}
		})
	}
}

func TestRunWithoutFile(t *testing.T) {
	err := run([]string{filepath.Join(t.TempDir(), "absent")}, &strings.Builder{})
	wantError(t, err, "absent")
}

func writeProfile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cover.out")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %v, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want %q in it", err, want)
	}
}
