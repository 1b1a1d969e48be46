// Package protobuf is FlyRPC's Protocol Buffers serializer, for messages whose Go
// types protoc-gen-go has made. It stands on google.golang.org/protobuf.
//
// Values must be proto.Message, such as *timestamppb.Timestamp. Encode and Decode
// also take a pointer to such a pointer, for which Decode makes a message if it
// is nil. Fields that the message type doesn't know are dropped, not kept for
// encoding again.
package protobuf

import (
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/internal/errtext"
)

const name = "protobuf"

// Serializer is Protocol Buffers with the default limits. Its name is "protobuf".
var Serializer = New(serializer.Limits{})

// New returns a Protocol Buffers serializer with limits of its own; the zero
// Limits are the defaults.
//
// Decode looks through the data before decoding it and refuses what is nested
// deeper than Limits.Depth or would take more memory than Limits.Memory beyond
// the length of the data. That counts messages at the size of their Go types and elements of
// repeated fields at three times theirs (slices grow as they are read). Empty
// data is an empty message, as Protocol Buffers have it.
func New(limits serializer.Limits) serializer.Serializer {
	limits = limits.WithDefaults()
	c := &codec{
		limits:  limits,
		options: proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: limits.Depth},
	}
	c.walks.New = func() any { return new(walk) }
	return c
}

type codec struct {
	limits  serializer.Limits
	options proto.UnmarshalOptions
	shapes  sync.Map  // protoreflect.MessageDescriptor to *shape
	walks   sync.Pool // of *walk
}

func (c *codec) Name() string { return name }

// Encode appends v to dst. A nil message, or a nil pointer to one, is an error: it has
// no encoding that differs from an empty message's.
func (c *codec) Encode(dst []byte, v any) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, fmt.Errorf("protobuf: encoding %T panicked: %v", v, r)
		}
	}()
	m, err := encoded(v)
	if err != nil {
		return dst, err
	}
	out, err = proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return dst, fmt.Errorf("protobuf: cannot encode %T: %w", v, err)
	}
	return out, nil
}

// Decode replaces the message v points to.
func (c *codec) Decode(data []byte, v any) (err error) {
	if err := serializer.CheckTarget(name, v); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("protobuf: decoding into %T panicked: %v", v, r)
		}
	}()
	m, set, err := decoded(v)
	if err != nil {
		return err
	}
	if err := c.walk(data, m.ProtoReflect()); err != nil {
		return err
	}
	if err := c.options.Unmarshal(data, m); err != nil {
		return fmt.Errorf("protobuf: cannot decode into %T: %w", v, errtext.Brief(err))
	}
	set()
	return nil
}

// encoded finds the message in what was given to Encode.
func encoded(v any) (proto.Message, error) {
	m, ok := v.(proto.Message)
	if rv := reflect.ValueOf(v); !ok && rv.Kind() == reflect.Pointer && !rv.IsNil() {
		m, ok = rv.Elem().Interface().(proto.Message)
	}
	if !ok {
		return nil, notMessage(v)
	}
	if rv := reflect.ValueOf(m); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return nil, fmt.Errorf("protobuf: cannot encode a nil %T; pass a message that exists", m)
	}
	return m, nil
}

// decoded finds or makes the message to decode into; set stores a new one where it belongs.
func decoded(v any) (m proto.Message, set func(), err error) {
	if m, ok := v.(proto.Message); ok {
		return m, func() {}, nil
	}
	slot := reflect.ValueOf(v).Elem()
	if slot.Kind() != reflect.Pointer || !slot.Type().Implements(reflect.TypeFor[proto.Message]()) {
		return nil, nil, notMessage(v)
	}
	if !slot.IsNil() {
		return slot.Interface().(proto.Message), func() {}, nil
	}
	made := reflect.New(slot.Type().Elem())
	return made.Interface().(proto.Message), func() { slot.Set(made) }, nil
}

func notMessage(v any) error {
	return fmt.Errorf("protobuf: %T is not a proto.Message; pass a pointer to a type made by protoc-gen-go, or use another serializer", v)
}
