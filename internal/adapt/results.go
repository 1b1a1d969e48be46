package adapt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
)

const shapes = "a handler returns nothing, an error, a message, iter.Seq2[T, error] or io.Reader, or one of these and an error"

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
	p.Reply = t.Out(0)
	what, reply := "the result is", t.Out(0)
	switch item := itemType(reply); {
	case item != nil:
		p.sends, p.Yields = sendsItems, true
		what, reply = fmt.Sprintf("the result is %s: its items are", reply), item
	case isReader(reply):
		p.sends, p.Yields = sendsReader, true
		return nil
	case reply.Kind() == reflect.Interface:
		p.sends = mayRead
	}
	if fault := types.replyFault(reply); fault != "" {
		return fmt.Errorf("%s %s%s: %s", what, reply, fault, shapes)
	}
	return nil
}

// resultKind says what becomes of a message that a function returns.
type resultKind uint8

const (
	isMessage   resultKind = iota
	sendsItems             // it is an iter.Seq2[T, error], whose items are sent
	sendsReader            // it is an io.Reader, whose bytes are sent
	mayRead                // it is an interface, in which there may be an io.Reader
)

// replyFault says why a result of type t can be no message; "" if it can be one.
// Unlike a message that is decoded it may be any interface.
func (ts Types) replyFault(t reflect.Type) string {
	switch {
	case t == ts.Context, t == ts.Packet, t == ts.Stream:
		return ", which can be no message"
	case t.Kind() == reflect.Interface:
		return ""
	}
	return ts.messageFault(t)
}

// newResults returns what makes a message and an error out of the results of a call, and sends what is to be sent in items.
func newResults[C context.Context](p *Plan, send func(C, any) error) func(C, []reflect.Value) (any, error) {
	if p.Reply == nil && !p.Fails {
		return func(C, []reflect.Value) (any, error) { return nil, nil }
	}
	if p.Reply == nil {
		return func(_ C, out []reflect.Value) (any, error) { return nil, failure(out[0]) }
	}
	take := newTake(p, send)
	if !p.Fails {
		return func(c C, out []reflect.Value) (any, error) { return take(c, out[0]) }
	}
	return func(c C, out []reflect.Value) (any, error) {
		if err := failure(out[1]); err != nil {
			return nil, err
		}
		return take(c, out[0])
	}
}

// newTake returns what makes a message of the first result, or sends it.
func newTake[C context.Context](p *Plan, send func(C, any) error) func(C, reflect.Value) (any, error) {
	switch p.sends {
	case sendsItems:
		return func(c C, v reflect.Value) (any, error) { return nil, sendSeq(c, v, send) }
	case sendsReader, mayRead:
		return func(c C, v reflect.Value) (any, error) {
			m := reply(v)
			if r, ok := m.(io.Reader); ok {
				return nil, SendReader(c, r, send)
			}
			return m, nil
		}
	default:
		return func(_ C, v reflect.Value) (any, error) { return reply(v), nil }
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
