package adapt

import (
	"errors"
	"fmt"
	"io"
	"reflect"
)

const shapes = "a handler returns nothing, an error, a message, or a message and an error"

var errTwoErrors = errors.New("both results are errors: " + shapes)

// setResults finds the message and the error among the results.
func (p *Plan) setResults(t reflect.Type, types Types) error {
	isError := func(i int) bool { return t.Out(i) == reflect.TypeFor[error]() }
	switch t.NumOut() {
	case 0:
		return nil
	case 1:
		if isError(0) {
			p.Fails = true
			return nil
		}
		if t.Out(0).Implements(reflect.TypeFor[error]()) {
			return fmt.Errorf("the result is %s, which implements error: declare it as error", t.Out(0))
		}
	case 2:
		if !isError(1) {
			return fmt.Errorf("the second result is %s and must be error: %s", t.Out(1), shapes)
		}
		if isError(0) {
			return errTwoErrors
		}
		p.Fails = true
	default:
		return fmt.Errorf("%d results: %s", t.NumOut(), shapes)
	}
	if fault := types.replyFault(t.Out(0)); fault != "" {
		return fmt.Errorf("the result is %s%s: %s", t.Out(0), fault, shapes)
	}
	p.Reply = t.Out(0)
	return nil
}

// replyFault says why a result of type t can be no message; "" if it can be one.
// Unlike a message that is decoded it may be any interface.
func (ts Types) replyFault(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[io.Reader]():
		return ", and a reader can be no message"
	case t == ts.Context, t == ts.Packet:
		return ", which can be no message"
	case t.Kind() == reflect.Interface:
		return ""
	}
	return ts.messageFault(t)
}

// results returns what makes a message and an error out of the results of a call.
func (p *Plan) results() func([]reflect.Value) (any, error) {
	switch {
	case p.Reply == nil && !p.Fails:
		return func([]reflect.Value) (any, error) { return nil, nil }
	case p.Reply == nil:
		return func(out []reflect.Value) (any, error) { return nil, failure(out[0]) }
	case !p.Fails:
		return func(out []reflect.Value) (any, error) { return reply(out[0]), nil }
	default:
		return func(out []reflect.Value) (any, error) {
			if err := failure(out[1]); err != nil {
				return nil, err
			}
			return reply(out[0]), nil
		}
	}
}

// failure returns the error in a result of type error.
func failure(v reflect.Value) error {
	err, _ := v.Interface().(error)
	return err
}

// reply returns the message in a result. A pointer or interface that is nil is a nil
// any; an empty map, slice or []byte stays what it is.
func reply(v reflect.Value) any {
	if k := v.Kind(); (k == reflect.Pointer || k == reflect.Interface) && v.IsNil() {
		return nil
	}
	return v.Interface()
}
