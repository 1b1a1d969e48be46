package adapt

import (
	"context"
	"io"
	"reflect"
)

// Source takes out of a call's context C what parameters are filled with, and sends items. C, P and S
// are the types that Types holds.
type Source[C context.Context, P, S any] struct {
	Decode func(C, any) error // decodes the body into a non-nil pointer
	Packet func(C) P
	Body   func(C) []byte // the body as it came, for the handler to keep
	Stream func(C) S
	Reader func(C) io.Reader  // what the caller sends, as bytes
	Recv   func(C, any) error // decodes the caller's next item; io.EOF at the end
	Stop   func(C)            // no more items are taken
	Send   func(C, any) error // sends an item, or what an io.Reader reads
}

// argument makes one argument of a call.
type argument[C context.Context] func(C) (reflect.Value, error)

// fewParams is the number of parameters up to which the list of arguments stands on
// the stack.
const fewParams = 4

// Bind returns what calls fn, which p is the plan of. It returns Decode's error
// without having called fn, and with an error of fn's no message. It may be called
// concurrently if fn may be. A panic in fn goes through.
func Bind[C context.Context, P, S any](p *Plan, fn reflect.Value, src Source[C, P, S]) func(C) (any, error) {
	arguments := make([]argument[C], len(p.Params))
	for i, param := range p.Params {
		arguments[i] = newArgument(param, src)
	}
	results := newResults(p, src.Send)
	return func(c C) (any, error) {
		var few [fewParams]reflect.Value
		args := few[:0]
		for _, next := range arguments {
			arg, err := next(c)
			if err != nil {
				return nil, err
			}
			args = append(args, arg)
		}
		return results(c, fn.Call(args))
	}
}

// newArgument returns what fills a parameter.
func newArgument[C context.Context, P, S any](param Param, src Source[C, P, S]) argument[C] {
	switch param.Kind {
	case Context, StdContext:
		return func(c C) (reflect.Value, error) { return reflect.ValueOf(c), nil }
	case Packet:
		return func(c C) (reflect.Value, error) { return reflect.ValueOf(src.Packet(c)), nil }
	case Stream:
		return func(c C) (reflect.Value, error) { return reflect.ValueOf(src.Stream(c)), nil }
	case Reader:
		return func(c C) (reflect.Value, error) { return reflect.ValueOf(src.Reader(c)), nil }
	case Items:
		return newSeq(param, src)
	case Bytes:
		return func(c C) (reflect.Value, error) { return reflect.ValueOf(src.Body(c)), nil }
	case Text:
		return func(c C) (reflect.Value, error) { return reflect.ValueOf(string(src.Body(c))), nil }
	case Pointer:
		return func(c C) (reflect.Value, error) {
			v := reflect.New(param.Type)
			return v, src.Decode(c, v.Interface())
		}
	default:
		return func(c C) (reflect.Value, error) {
			v := reflect.New(param.Type)
			return v.Elem(), src.Decode(c, v.Interface())
		}
	}
}
