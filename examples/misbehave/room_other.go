//go:build !unix

package main

import "errors"

// roomFor says that this system won't do: its pipes have no deadlines.
func roomFor(int) error { return errors.New("this program needs a Unix system") }
