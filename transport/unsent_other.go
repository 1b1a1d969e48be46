//go:build unix && !linux

package transport

import "syscall"

// limitUnsent does nothing: other systems bound what they hold by the size of the send buffer alone.
func limitUnsent(syscall.RawConn) {}
