package command

import "github.com/go-flyrpc/flyrpc"

// fault is what Error and Exception have in common.
type fault struct {
	// Action is what was called.
	Action string
	// Message is the peer's, for people.
	Message string
	// Kind says what kind of failure it is: a flyrpc.Code if the peer is FlyRPC, or what the peer has written. Where it has written none it is
	// ERROR for an Error and INTERNAL for an Exception.
	Kind string

	err *flyrpc.Error
}

// Unwrap returns the *flyrpc.Error, with the Kind as its Code: so errors.Is(err, flyrpc.NotFound) holds, and flyrpc.Outcome
// tells whether the handler was started.
func (f *fault) Unwrap() error { return f.err }

// Error is a failure that the peer's handler has meant for its caller: drs.error.
type Error struct{ fault }

// Error returns the action, the kind and the message.
func (e *Error) Error() string { return e.Action + ": " + e.err.Error() }

// Exception is a failure that the peer's handler has not meant for anybody, such as a panic: drs.exception.
type Exception struct{ fault }

// Error returns the action, the kind and the message.
func (e *Exception) Error() string { return e.Action + ": exception: " + e.err.Error() }
