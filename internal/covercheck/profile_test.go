package main

import (
	"maps"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, lines string
		want        map[string]coverage
		wantErr     string
	}{
		{"nothing", "", map[string]coverage{}, ""},
		{
			"two packages", "m/a/x.go:1.1,2.2 2 0\nm/a/y.go:1.1,2.2 3 7\nm/b/z.go:1.1,2.2 1 1\n",
			map[string]coverage{"m/a": {5, 3}, "m/b": {1, 1}},
			"",
		},
		{
			"one block twice", "m/a/x.go:1.1,2.2 2 1\nm/a/x.go:1.1,2.2 2 0\n",
			map[string]coverage{"m/a": {2, 2}},
			"",
		},
		{"a field short", "m/a/x.go:1.1,2.2 2\n", nil, "not a line"},
		{"no number", "m/a/x.go:1.1,2.2 two 1\n", nil, "two"},
		{"no count", "m/a/x.go:1.1,2.2 2 -1\n", nil, "-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(strings.NewReader("mode: atomic\n" + tt.lines))
			wantError(t, err, tt.wantErr)
			if err == nil && !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPercent(t *testing.T) {
	tests := []struct {
		coverage coverage
		want     float64
	}{
		{coverage{}, 100},
		{coverage{4, 0}, 0},
		{coverage{4, 1}, 25},
	}
	for _, tt := range tests {
		if got := tt.coverage.percent(); got != tt.want {
			t.Errorf("%v: %v percent, want %v", tt.coverage, got, tt.want)
		}
	}
}

func TestExemption(t *testing.T) {
	tests := []struct {
		path, importPath string
		want             bool
	}{
		{"examples/...", "examples/chat", true},
		{"examples/...", "examples", true},
		{"examples/...", "examplesque", false},
		{"cmd/fly", "cmd/fly", true},
		{"cmd/fly", "cmd/fly/x", false},
	}
	for _, tt := range tests {
		if got := (exemption{path: tt.path}).covers(module + tt.importPath); got != tt.want {
			t.Errorf("%s covers %s: %v, want %v", tt.path, tt.importPath, got, tt.want)
		}
	}
}
