package main

import "strings"

// module is the prefix of every import path that is judged.
const module = "github.com/go-flyrpc/flyrpc/"

// exemption names packages that are not judged, and why.
type exemption struct {
	path string // from the root of the repository; with /... what is below too
	why  string
}

// exemptions are all the packages that are not judged.
func exemptions() []exemption {
	return []exemption{
		{"examples/...", "programs to read; they are built and vetted"},
		{"benchmarks/...", "a program that measures; its tests run each peer and each part once"},
	}
}

// covers reports whether the exemption is for the package importPath.
func (e exemption) covers(importPath string) bool {
	relative := strings.TrimPrefix(importPath, module)
	if above, ok := strings.CutSuffix(e.path, "/..."); ok {
		return relative == above || strings.HasPrefix(relative, above+"/")
	}
	return relative == e.path
}

// reasonFor returns why the package importPath is not judged, "" if it is.
func reasonFor(importPath string, list []exemption) string {
	for _, e := range list {
		if e.covers(importPath) {
			return e.why
		}
	}
	return ""
}
