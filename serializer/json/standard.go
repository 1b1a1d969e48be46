package json

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

func appendStandard(dst []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

func decodeStandard(data []byte, v any) error { return json.Unmarshal(data, v) }

// needsStandard says whether json-iterator and encoding/json disagree about a type.
func needsStandard(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return false
	}
	if t == reflect.TypeFor[json.Number]() {
		return true
	}
	if implementsAny(t) || t.Kind() != reflect.Interface && implementsAny(reflect.PointerTo(t)) {
		return true
	}
	switch t.Kind() {
	case reflect.Array:
		return true
	case reflect.Map:
		return t.Key() != reflect.TypeFor[string]()
	case reflect.Struct:
		return hasOddField(t)
	}
	return false
}

func hasOddField(t reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		for option := range strings.SplitSeq(options, ",") {
			if option == "string" || option == "omitzero" {
				return true
			}
		}
		if f.Anonymous {
			return true
		}
	}
	return false
}

func implementsAny(t reflect.Type) bool {
	return decodesItself(t) || encodesItself(t) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// encodesItself says whether values of a type are encoded by their own methods.
func encodesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// encodedField says whether a field is encoded, and whether as the fields of an
// embedded struct are.
func encodedField(f reflect.StructField) (encoded, inlined bool) {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	tag := f.Tag.Get("json")
	if tag == "-" || f.Anonymous && !f.IsExported() && t.Kind() != reflect.Struct {
		return false, false
	}
	name, _, _ := strings.Cut(tag, ",")
	return true, f.Anonymous && name == "" && t.Kind() == reflect.Struct
}

func decodesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Unmarshaler]())
}

// classify tells the types apart that reflection alone would misjudge.
func classify(t reflect.Type) plan.Kind {
	switch {
	case t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[json.RawMessage]():
		return plan.Leaf
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return plan.Plain
	case decodesItself(reflect.PointerTo(t)):
		return plan.Opaque
	case t == reflect.TypeFor[json.Number](), reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return plan.Leaf
	}
	return plan.Plain
}
