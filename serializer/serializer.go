// Package serializer says what FlyRPC needs from a way to turn Go values into
// bytes and back. The ready ones are in the packages json, msgpack and
// protobuf below it; package serializertest checks one of your own.
//
// What a peer sends never decides how much memory a decoder takes: the built-in
// serializers look through the data before they decode it and refuse what is
// nested too deep or would become too large (see [Limits]).
package serializer

import (
	"errors"
	"fmt"
)

// A Serializer encodes and decodes messages.
//
// All methods may be called by any number of goroutines at once. None of them
// panics, whatever the data and the values are.
type Serializer interface {
	// Name is what the two ends of a connection agree on, such as "json". It is
	// never empty and is the same at every call.
	Name() string

	// Encode appends the encoding of v to dst and returns the extended slice,
	// as append does: it uses the capacity of dst if that suffices, and the
	// result is the caller's. dst may be nil. When it fails, the first len(dst)
	// bytes of what it returns are those of dst, and len is len(dst). v is not
	// changed and not kept. A value that contains itself is an error; a serializer
	// that doesn't notice must say so.
	Encode(dst []byte, v any) ([]byte, error)

	// Decode reads exactly one value out of data into v, a pointer that is not
	// nil. Data is neither changed nor kept: everything decoded is a copy, so
	// the caller may reuse data as soon as Decode has returned. Empty data,
	// and bytes after the value, are errors. After an error v may be filled in part.
	Decode(data []byte, v any) error
}

// Adapt makes a Serializer out of a pair of functions as many libraries have
// them, Marshal and Unmarshal. The functions are called by many goroutines at
// once, and decode must not keep its data. A panic in either comes back as an
// error. What encode returns is copied behind dst.
//
// Adapt panics when name is empty or a function is nil. It adds no limits: those
// of the functions hold.
func Adapt(name string, encode func(v any) ([]byte, error), decode func(data []byte, v any) error) Serializer {
	if name == "" || encode == nil || decode == nil {
		panic("serializer: Adapt needs a name, an encode and a decode function")
	}
	return &adapted{name: name, encode: encode, decode: decode}
}

type adapted struct {
	name   string
	encode func(v any) ([]byte, error)
	decode func(data []byte, v any) error
}

func (a *adapted) Name() string { return a.name }

func (a *adapted) Encode(dst []byte, v any) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, fmt.Errorf("%s: encoding %T panicked: %v", a.name, v, r)
		}
	}()
	b, err := a.encode(v)
	if err != nil {
		return dst, fmt.Errorf("%s: cannot encode %T: %w", a.name, v, err)
	}
	return append(dst, b...), nil
}

func (a *adapted) Decode(data []byte, v any) (err error) {
	if err := CheckTarget(a.name, v); err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("%s: %w", a.name, ErrEmpty)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: decoding into %T panicked: %v", a.name, v, r)
		}
	}()
	if err := a.decode(data, v); err != nil {
		return fmt.Errorf("%s: cannot decode into %T: %w", a.name, v, err)
	}
	return nil
}

// ErrEmpty is in the chain of the error that Decode returns for empty data.
// Formats in which no bytes are a whole message, as Protocol Buffers, don't return it.
var ErrEmpty = errors.New("there is no data, expected one value")
