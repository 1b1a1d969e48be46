package flyrpc

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unsafe"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// The values of MetaSerializer for bodies that no serializer made.
const (
	rawBytes = ""
	rawText  = "t"
)

// bodyKind says what a body's bytes are.
type bodyKind uint8

const (
	encodedBody bodyKind = iota // in the connection's serializer
	bytesBody                   // raw bytes
	textBody                    // raw UTF-8 text
	plainBody                   // bytes of a version 1 peer or an HTTP request, which don't say what they are
)

// body is a received message: its bytes and how to read them.
type body struct {
	data []byte
	ser  serializer.Serializer
	kind bodyKind
	// shared means that data is the connection's, to be used again: what is kept must be copied.
	shared bool
}

// decode fills v, a non-nil pointer, from the body. nil, an empty body that isn't raw,
// leaves v alone. The error is an Error with BadRequest.
func (b body) decode(v any) error {
	switch p := v.(type) {
	case *[]byte:
		if b.kind != encodedBody {
			*p = b.bytes()
			return nil
		}
	case *string:
		if b.kind != encodedBody {
			*p = string(b.data)
			return nil
		}
	case *any:
		if b.kind == bytesBody {
			*p = b.bytes()
			return nil
		}
		if b.kind == textBody {
			*p = string(b.data)
			return nil
		}
	}
	switch {
	case b.kind == bytesBody, b.kind == textBody:
		return Errorf(BadRequest, "raw %s of %d bytes came where %s is wanted: send a value that the serializer encodes, or take []byte or string",
			b.kind, len(b.data), typeName(v))
	case len(b.data) == 0:
		return nil
	}
	if err := b.ser.Decode(b.data, v); err != nil {
		return Errorf(BadRequest, "%d bytes of %s are no %s: %w", len(b.data), b.ser.Name(), typeName(v), err)
	}
	return nil
}

// bytes returns the body's bytes for its receiver to keep.
func (b body) bytes() []byte {
	if !b.shared {
		return b.data
	}
	return append(make([]byte, 0, len(b.data)), b.data...)
}

// String names the kind in error messages.
func (k bodyKind) String() string {
	if k == textBody {
		return "text"
	}
	return "bytes"
}

// typeName names the type that v points to.
func typeName(v any) string {
	t := reflect.TypeOf(v)
	if t == nil {
		return "nil"
	}
	return strings.TrimPrefix(t.String(), "*")
}

// encodeBody appends the wire form of message to dst and says what it is. nil has
// no bytes in version 2 and is the serializer's null in version 1. An io.Reader, which goes in items, has
// none: no serializer knows what it reads. With an error dst comes back as it was.
func encodeBody(dst []byte, message any, ser serializer.Serializer, v1 bool) ([]byte, bodyKind, error) {
	switch m := message.(type) {
	case nil:
		return appendNull(dst, ser, v1), encodedBody, nil
	case []byte:
		return append(dst, m...), bytesBody, nil
	case string:
		return append(dst, m...), textBody, nil
	case io.Reader:
		return dst, encodedBody, fmt.Errorf("flyrpc: a %T is an io.Reader, which only Call, Go, Stream.Send and handlers send", message)
	default:
		if rv := reflect.ValueOf(message); rv.Kind() == reflect.Pointer && rv.IsNil() {
			return appendNull(dst, ser, v1), encodedBody, nil
		}
	}
	out, err := ser.Encode(dst, message)
	if err != nil {
		return dst, encodedBody, fmt.Errorf("flyrpc: %s can't encode %T: %w", ser.Name(), message, err)
	}
	return out, encodedBody, nil
}

// largeRaw returns the bytes of a message that travels raw and is so large that it isn't gathered with others: it needn't be
// copied to be encoded. kept means that nobody changes them, as they are a string's. Of other messages it returns nil.
func largeRaw(message any) (raw []byte, kind bodyKind, kept bool) {
	switch m := message.(type) {
	case []byte:
		if len(m) >= largeBody {
			return m, bytesBody, false
		}
	case string:
		if len(m) >= largeBody {
			return unsafe.Slice(unsafe.StringData(m), len(m)), textBody, true
		}
	}
	return nil, encodedBody, false
}

// appendNull appends the wire form of nil to dst: nothing, or the null of a version 1
// peer's serializer, if it has one.
func appendNull(dst []byte, ser serializer.Serializer, v1 bool) []byte {
	if !v1 {
		return dst
	}
	out, err := ser.Encode(dst, nil)
	if err != nil {
		return dst // Protocol Buffers have none: it is an empty message
	}
	return out
}
