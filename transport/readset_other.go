//go:build !linux

package transport

import "errors"

// ReadSet tells which of many sockets have something to read. This system has none: NewReadSet
// never returns one.
type ReadSet struct{}

// NewReadSet fails with errors.ErrUnsupported on this system. Use RawConn.WaitReadable, with
// a goroutine for each socket.
func NewReadSet() (*ReadSet, error) { return nil, errors.ErrUnsupported }

// Add gives errors.ErrUnsupported.
func (*ReadSet) Add(*RawConn, uint64) error { return errors.ErrUnsupported }

// Remove does nothing.
func (*ReadSet) Remove(*RawConn) {}

// Wait gives errors.ErrUnsupported.
func (*ReadSet) Wait([]uint64) (int, error) { return 0, errors.ErrUnsupported }

// Close gives errors.ErrUnsupported.
func (*ReadSet) Close() error { return errors.ErrUnsupported }
