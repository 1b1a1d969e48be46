package service

import "errors"

// What a Bus and a DurableBus fail with.
var (
	// ErrBusClosed means that the Bus was closed.
	ErrBusClosed = errors.New("service: the bus is closed")
	// ErrTooLarge means that a message has more bytes than MaxPayload says.
	ErrTooLarge = errors.New("service: the message is larger than the bus takes")
	// ErrBadSubject means that a subject is not one; see Bus.
	ErrBadSubject = errors.New("service: malformed subject")
	// ErrNoStore means that a durable message was published to a subject that nothing keeps.
	ErrNoStore = errors.New("service: no durable consumer and no store is there for the subject")
	// ErrStoreFull means that a durable message was published and the store has no room left.
	ErrStoreFull = errors.New("service: the store of durable messages is full")
)
