package msgpack

import (
	"encoding"
	"reflect"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// isOpaque says whether the library encodes a type without looking into it.
func isOpaque(t reflect.Type) bool {
	if t == reflect.TypeFor[error]() {
		return true
	}
	p := reflect.PointerTo(t)
	for _, i := range []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
	} {
		if t.Implements(i) || p.Implements(i) {
			return true
		}
	}
	return false
}

// encodedField says whether the library encodes a field, and whether it may do so as the
// fields of an embedded struct.
func encodedField(f reflect.StructField) (encoded, inlined bool) {
	tag := f.Tag.Get("msgpack")
	if tag == "" {
		tag = f.Tag.Get("json")
	}
	name, options, _ := strings.Cut(tag, ",")
	if name == "-" {
		return false, false
	}
	t := f.Type
	for t.Kind() == reflect.Pointer && t.Elem() != t {
		t = t.Elem()
	}
	inlined = f.Anonymous && t.Kind() == reflect.Struct
	for option := range strings.SplitSeq(options, ",") {
		inlined = inlined && option != "noinline"
	}
	return true, inlined
}
