package transport

import (
	"errors"
	"syscall"
)

// isBroken tells whether err says that nobody receives any more.
func isBroken(err error) bool {
	const shutdown, aborted = syscall.Errno(10058), syscall.Errno(10053)
	for _, e := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.WSAECONNRESET, shutdown, aborted} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
