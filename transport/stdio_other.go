//go:build !unix

package transport

import (
	"errors"
	"fmt"
)

// Stdio fails on this system with an error that matches errors.ErrUnsupported: its
// pipes have no deadlines.
func Stdio() (*FileConn, error) {
	return nil, fmt.Errorf("transport: Stdio: the pipes of this system have no deadlines: %w", errors.ErrUnsupported)
}
