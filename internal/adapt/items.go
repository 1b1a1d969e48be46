package adapt

import (
	"context"
	"io"
	"iter"
	"reflect"
)

// itemType returns T if t is iter.Seq2[T, error], or nil.
func itemType(t reflect.Type) reflect.Type {
	if t.Kind() != reflect.Func || t.NumIn() != 1 || t.NumOut() != 0 || t.IsVariadic() {
		return nil
	}
	yield := t.In(0)
	if yield.Kind() != reflect.Func || yield.NumIn() != 2 || yield.NumOut() != 1 || yield.IsVariadic() ||
		yield.In(1) != reflect.TypeFor[error]() || yield.Out(0) != reflect.TypeFor[bool]() {
		return nil
	}
	return yield.In(0)
}

// isReader reports whether t is or implements io.Reader.
func isReader(t reflect.Type) bool { return t.Implements(reflect.TypeFor[io.Reader]()) }

// newSeq returns what makes an iter.Seq2[T, error] of the items that the caller sends.
func newSeq[C context.Context, P, S any](param Param, src Source[C, P, S]) argument[C] {
	elem := param.Type
	return func(c C) (reflect.Value, error) {
		over := false
		seq := reflect.MakeFunc(param.Func, func(args []reflect.Value) []reflect.Value {
			for !over {
				item, arg := newItem(elem)
				err := src.Recv(c, item)
				if err == io.EOF {
					over = true
					return nil
				}
				failure := reflect.Zero(reflect.TypeFor[error]())
				if err != nil {
					over, arg, failure = true, reflect.Zero(elem), reflect.ValueOf(err)
				}
				if !args[0].Call([]reflect.Value{arg, failure})[0].Bool() {
					over = true
					src.Stop(c)
				}
			}
			return nil
		})
		return seq, nil
	}
}

// newItem returns a pointer to decode an item of a type into, and the value that is then the item. One of a pointer
// type is never nil.
func newItem(elem reflect.Type) (pointer any, item reflect.Value) {
	if elem.Kind() == reflect.Pointer {
		v := reflect.New(elem.Elem())
		return v.Interface(), v
	}
	v := reflect.New(elem)
	return v.Interface(), v.Elem()
}

// sendSeq sends what an iter.Seq2[T, error] yields, until it yields an error or sending fails.
func sendSeq[C context.Context](c C, seq reflect.Value, send func(C, any) error) (err error) {
	if seq.IsNil() {
		return nil
	}
	switch items := seq.Interface().(type) { // what is often sent, without reflection for each item
	case iter.Seq2[string, error]:
		return sendAll(c, items, send)
	case iter.Seq2[[]byte, error]:
		return sendAll(c, items, send)
	}
	yield := reflect.MakeFunc(seq.Type().In(0), func(args []reflect.Value) []reflect.Value {
		if err == nil {
			if err = failure(args[1]); err == nil {
				err = send(c, reply(args[0]))
			}
		}
		return []reflect.Value{reflect.ValueOf(err == nil)}
	})
	seq.Call([]reflect.Value{yield})
	return err
}

// sendAll is sendSeq for items of a type that is known.
func sendAll[C context.Context, T any](c C, items iter.Seq2[T, error], send func(C, any) error) (err error) {
	items(func(item T, failure error) bool {
		if err == nil {
			if err = failure; err == nil {
				err = send(c, item)
			}
		}
		return err == nil
	})
	return err
}

// SendReader sends what a reader reads, and closes it if it can be.
func SendReader[C context.Context](c C, r io.Reader, send func(C, any) error) error {
	if closer, ok := r.(io.Closer); ok {
		defer closer.Close()
	}
	return send(c, r)
}
