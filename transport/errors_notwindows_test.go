//go:build !windows

package transport

import (
	"errors"
	"syscall"
)

// isBroken tells whether err says that nobody receives any more.
func isBroken(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
