package flyrpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Code says what kind of failure ended a call. It travels as the code of an
// error response and is itself an error, so that a handler can return
// flyrpc.NotFound and its caller can ask errors.Is(err, flyrpc.NotFound).
//
// Programs may use codes of their own: any non-empty UTF-8 text of at most
// 4 KiB without a zero byte.
type Code string

// The codes FlyRPC itself uses.
const (
	Timeout         Code = "TIMEOUT"         // the deadline passed at the side that reports it
	NotFound        Code = "NOT_FOUND"       // no handler has the path
	TooLong         Code = "BUFF_TOO_LONG"   // a packet or message is larger than a limit
	HandlerPanic    Code = "HANDLER_PANIC"   // the handler panicked; its text stays in its process's log
	BadRequest      Code = "BAD_REQUEST"     // the packet or its message can't be understood
	Unauthenticated Code = "UNAUTHENTICATED" // credentials are missing or wrong
	Forbidden       Code = "FORBIDDEN"       // the identity may not do this
	Busy            Code = "BUSY"            // a limit on concurrent work is reached
	Canceled        Code = "CANCELED"        // the caller gave up
	Unavailable     Code = "UNAVAILABLE"     // the connection is lost, closing or shutting down
	Conflict        Code = "CONFLICT"        // the request contradicts the state it meets
	Internal        Code = "INTERNAL"        // a fault that is not the caller's
	Failed          Code = "ERROR"           // a handler's plain error; its text is the message
)

// maxCodeLen is the most bytes a path or a response's code has on the wire.
const maxCodeLen = 4 << 10

// Error returns the code's text.
func (c Code) Error() string { return string(c) }

// Delivery says how far a call that failed had come.
type Delivery uint8

const (
	// Unknown means that the request may or may not have been executed. It may be
	// repeated only if it is idempotent and none of its items were delivered.
	Unknown Delivery = iota
	// NotSent means that no byte of the request left this process. It is safe to repeat.
	NotSent
	// NotProcessed means that the other end answered that the handler never
	// started. It is safe to repeat.
	NotProcessed
	// Answered means that a response came from the handler. It is never repeated.
	Answered
)

// String returns the name of the constant.
func (d Delivery) String() string {
	switch d {
	case NotSent:
		return "NotSent"
	case NotProcessed:
		return "NotProcessed"
	case Answered:
		return "Answered"
	default:
		return "Unknown"
	}
}

// Outcome reports how far the call that returned err had come. A nil error was
// Answered; an error that FlyRPC did not return is Unknown.
func Outcome(err error) Delivery {
	if err == nil {
		return Answered
	}
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e.delivery
	}
	return Unknown
}

// Error is a failed call. Handlers make them with Errorf; callers take them from
// the error of a call with errors.As, or ask errors.Is(err, code).
//
// An Error that came from the other end unwraps to the error that ServerOpts.Errors
// or ClientOpts.Errors hold for its code. One made here because a local context
// ended unwraps to context.Canceled or context.DeadlineExceeded; a remote one
// never does.
type Error struct {
	// Code says what kind of failure it is.
	Code Code
	// Message is for people. It crosses the wire as it is.
	Message string
	// Details is any value that the connection's serializer takes. In an Error
	// that came from the other end it is what the serializer makes of it without
	// knowing its type; DecodeDetails fills a type of the caller's choice.
	Details any

	cause    error
	remote   bool
	delivery Delivery
	details  *body     // nil if there are none
	refused  *incoming // the request that was not processed
}

// Errorf returns an Error with a code and a formatted message. The operand of a %w
// verb is what the Error unwraps to in this process; it doesn't cross the wire.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Message: err.Error()}
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		e.cause = err
	}
	return e
}

// WithDetails returns a copy of e that carries details.
func (e *Error) WithDetails(details any) *Error {
	c := *e
	c.Details = details
	return &c
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Message == "" || e.Message == string(e.Code) {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}

// Is reports whether target is e's Code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// Unwrap returns the local cause or the program's own error for the code, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Remote reports whether the error came from the other end.
func (e *Error) Remote() bool { return e.remote }

// DecodeDetails decodes the details of an Error that came from the other end into
// v, a non-nil pointer. It leaves v alone if there are none.
func (e *Error) DecodeDetails(v any) error {
	if e.details == nil {
		return nil
	}
	return e.details.decode(v)
}

// localErr returns an Error made on this side, with its delivery.
func localErr(code Code, d Delivery, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause, delivery: d}
}

// ctxErr returns the Error for a local context that has ended.
func ctxErr(ctx context.Context, d Delivery, what string) *Error {
	err := ctx.Err()
	code := Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		code = Timeout
	}
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return localErr(code, d, cmp.Or(cause, err), "%s: %v", what, err)
	}
	return localErr(code, d, errors.Join(err, cause), "%s: %v (%v)", what, err, cause)
}

// wireError is what of an error crosses the wire.
type wireError struct {
	code    Code
	message string
	details any
}

// toWire says how err travels: by the code it carries, by the table of the
// program's own errors, or as Failed with its text.
func (t errorTable) toWire(err error) (w wireError) {
	defer func() {
		if recover() != nil {
			w = wireError{code: HandlerPanic, message: "the handler's error panicked when it was asked what it is"}
		}
	}()
	if e, ok := err.(*Error); ok { // what most are, without the memory that errors.As takes
		return wireError{code: e.Code, message: e.Message, details: e.Details}.clean()
	}
	var e *Error
	var c Code
	switch {
	case errors.As(err, &e):
		w := wireError{code: e.Code, message: e.Message, details: e.Details}
		if err != error(e) {
			w.message = err.Error()
		}
		return w.clean()
	case errors.As(err, &c):
		return wireError{code: c, message: err.Error()}.clean()
	}
	if code, ok := t.codeOf(err); ok {
		return wireError{code: code, message: err.Error()}.clean()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return wireError{code: Timeout, message: err.Error()}.clean()
	case errors.Is(err, context.Canceled):
		return wireError{code: Canceled, message: err.Error()}.clean()
	}
	return wireError{code: Failed, message: err.Error()}.clean()
}

// clean makes the code fit for the wire and the message non-empty.
func (w wireError) clean() wireError {
	w.code = Code(cleanCode(string(w.code)))
	if w.code == "" {
		w.code = Internal
	}
	w.message = strings.ToValidUTF8(w.message, "\uFFFD")
	if w.message == "" {
		w.message = string(w.code)
	}
	return w
}

// cleanCode removes zero bytes and cuts s to the length a code may have.
func cleanCode(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	if len(s) > maxCodeLen {
		s = strings.ToValidUTF8(s[:maxCodeLen], "")
	}
	return s
}

// errorTable holds a program's own errors by their codes, in the order of the codes.
type errorTable []codedError

type codedError struct {
	code Code
	err  error
}

// codeOf returns the code of the first entry that err is.
func (t errorTable) codeOf(err error) (Code, bool) {
	for _, ce := range t {
		if errors.Is(err, ce.err) {
			return ce.code, true
		}
	}
	return "", false
}

// errorOf returns the program's own error for a code, or nil.
func (t errorTable) errorOf(code Code) error {
	for _, ce := range t {
		if ce.code == code {
			return ce.err
		}
	}
	return nil
}
