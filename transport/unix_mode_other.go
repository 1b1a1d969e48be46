//go:build !unix

package transport

import (
	"io/fs"
	"syscall"
)

// presetMode does nothing: here a socket has no mode before it has a file.
func presetMode(syscall.RawConn, fs.FileMode) error { return nil }
