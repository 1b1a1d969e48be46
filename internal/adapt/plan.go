// Package adapt turns the functions that programs register into calls of one shape.
//
// New looks at a function's type once and makes a Plan, or says what is wrong with
// the type. Bind makes of the Plan, the function and a Source what runs for each
// packet; it looks at no types any more.
package adapt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Kind says what a parameter is filled with.
type Kind uint8

// The kinds of parameters. A new one takes a constant here, a line in kindOf and
// one in newArgument.
const (
	Context    Kind = iota + 1 // the context type of Types
	StdContext                 // the same as context.Context
	Packet                     // the packet type of Types
	Bytes                      // the body as it came, beside a message
	Text                       // the same as a string
	Pointer                    // *T: the decoded message
	Value                      // T: the decoded message
	Items                      // iter.Seq2[T, error]: what the caller sends
	Reader                     // io.Reader: the same, as bytes
	Stream                     // the stream type of Types
)

// Types are the types that are no message.
type Types struct {
	Context reflect.Type // a pointer that implements context.Context
	Packet  reflect.Type // a pointer
	Stream  reflect.Type // a pointer
}

// Param is one parameter of a function.
type Param struct {
	Kind Kind
	Type reflect.Type // of Pointer, Value and Items: T, which is decoded
	Func reflect.Type // of Items: the type of the function
}

// Plan says how to call a function. It is immutable.
type Plan struct {
	// Params are the parameters in their order.
	Params []Param
	// Message is the type the body is decoded into; nil if the function takes none.
	// It is []byte or string for a function that takes these and no other message.
	Message reflect.Type
	// Reply is the type of the resulting message; nil if there is none.
	Reply reflect.Type
	// Fails says that the last result is an error.
	Fails bool
	// Takes says that the function takes items, in one form or another.
	Takes bool
	// Yields says that it answers with items, or may.
	Yields bool

	sends resultKind
}

var (
	errNil      = errors.New("the handler is nil")
	errVariadic = errors.New("a handler can't be variadic")
)

// checkItems says what is wrong with what the function takes and sends in items.
func (p *Plan) checkItems(types Types) error {
	takes := -1
	for i, param := range p.Params {
		switch param.Kind {
		case Items:
			if fault := types.messageFault(param.Type); fault != "" {
				return fmt.Errorf("parameter %d is %s: its items are %s%s", i+1, param.Func, param.Type, fault)
			}
		case Reader, Stream:
		default:
			continue
		}
		if takes >= 0 {
			return fmt.Errorf("parameters %d and %d both take what the caller sends: a handler has one of %s, iter.Seq2[T, error] and io.Reader",
				takes+1, i+1, types.Stream)
		}
		takes = i
	}
	return nil
}

// New returns the plan for fn. The error says what is wrong with fn, in words for
// whoever wrote it.
func New(fn reflect.Value, types Types) (*Plan, error) {
	if !fn.IsValid() {
		return nil, errNil
	}
	t := fn.Type()
	switch {
	case t.Kind() != reflect.Func:
		return nil, fmt.Errorf("the handler is no function but of type %s", t)
	case fn.IsNil():
		return nil, errNil
	case t.IsVariadic():
		return nil, errVariadic
	}
	p := new(Plan)
	if err := p.setParams(t, types); err != nil {
		return nil, err
	}
	if err := p.checkItems(types); err != nil {
		return nil, err
	}
	if err := p.setResults(t, types); err != nil {
		return nil, err
	}
	return p, nil
}

// setParams finds the kinds of the parameters.
func (p *Plan) setParams(t reflect.Type, types Types) error {
	message := -1
	for i := range t.NumIn() {
		in := t.In(i)
		param := types.kindOf(in)
		switch param.Kind {
		case Stream:
			p.Takes, p.Yields = true, true
		case Items, Reader:
			p.Takes = true
		case Pointer, Value:
			if fault := types.messageFault(in); fault != "" {
				return fmt.Errorf("parameter %d is %s%s; a parameter is %s, context.Context, %s, %s, iter.Seq2[T, error], io.Reader, []byte, string or the message, *T or T",
					i+1, in, fault, types.Context, types.Packet, types.Stream)
			}
			if message >= 0 {
				return fmt.Errorf("two messages, parameter %d (%s) and parameter %d (%s): a handler takes at most one",
					message+1, t.In(message), i+1, in)
			}
			message, p.Message = i, param.Type
		}
		p.Params = append(p.Params, param)
	}
	if message < 0 {
		p.decodeBodies()
	}
	return nil
}

// kindOf returns how a parameter of type t is filled.
func (ts Types) kindOf(t reflect.Type) Param {
	switch t {
	case ts.Context:
		return Param{Kind: Context}
	case ts.Packet:
		return Param{Kind: Packet}
	case reflect.TypeFor[context.Context]():
		return Param{Kind: StdContext}
	case reflect.TypeFor[[]byte]():
		return Param{Kind: Bytes, Type: t}
	case reflect.TypeFor[string]():
		return Param{Kind: Text, Type: t}
	case ts.Stream:
		return Param{Kind: Stream}
	case reflect.TypeFor[io.Reader]():
		return Param{Kind: Reader}
	}
	if item := itemType(t); item != nil {
		return Param{Kind: Items, Type: item, Func: t}
	}
	if t.Kind() == reflect.Pointer {
		return Param{Kind: Pointer, Type: t.Elem()}
	}
	return Param{Kind: Value, Type: t}
}

// decodeBodies makes the message of []byte and string, as there is no other one.
func (p *Plan) decodeBodies() {
	for i, param := range p.Params {
		if param.Kind != Bytes && param.Kind != Text {
			continue
		}
		p.Params[i].Kind = Value
		if p.Message == nil {
			p.Message = param.Type
		}
	}
}

// messageFault says why t can be no message; "" if it can be one. A serializer may
// still refuse what stands in it.
func (ts Types) messageFault(t reflect.Type) string {
	base := t
	for base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	switch base {
	case ts.Context.Elem(), ts.Packet.Elem(), ts.Stream.Elem():
		return ", and not *" + base.String()
	case reflect.TypeFor[any]():
		return ""
	}
	switch base.Kind() {
	case reflect.Chan:
		return ", and a channel can be no message"
	case reflect.Func:
		return ", and a function can be no message"
	case reflect.UnsafePointer:
		return ", and an unsafe pointer can be no message"
	case reflect.Interface:
		return ", and an interface other than any can be no message"
	}
	return ""
}
