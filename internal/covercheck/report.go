package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// report writes one line per package, in order, and returns an error that
// tells how many packages are below least percent.
func report(out io.Writer, packages map[string]coverage, exempt []exemption, least float64) error {
	if len(packages) == 0 {
		return errors.New("the profile is empty")
	}
	failed := 0
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		c := packages[name]
		verdict, ok := judge(name, c, exempt, least)
		fmt.Fprintf(out, "%-4s %5.1f%%  %s%s\n", verdict, c.percent(), name, reason(name, exempt))
		if !ok {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d packages are covered under %g%%", failed, len(packages), least)
	}
	return nil
}

// judge returns the word for a package, and whether it passes.
func judge(name string, c coverage, exempt []exemption, least float64) (string, bool) {
	switch {
	case reasonFor(name, exempt) != "":
		return "skip", true
	case c.percent() < least:
		return "LOW", false
	default:
		return "ok", true
	}
}

// reason returns what the line of an exempt package ends with.
func reason(name string, exempt []exemption) string {
	why := reasonFor(name, exempt)
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}
