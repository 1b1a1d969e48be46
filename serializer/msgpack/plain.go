package msgpack

import (
	"bytes"
	"encoding"
	"reflect"
	"regexp"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

// plainStruct codes a struct whose fields are numbers, booleans, texts and bytes. The
// library codes the values; what it looks up for each message, and for each key by its
// hash, is found out once. Struct types of any other sort are left to the library altogether.
type plainStruct struct {
	fields []plainField
	omits  bool // a field has omitempty
}

type plainField struct {
	name  string
	key   []byte // the name as it is encoded
	index int
	kind  reflect.Kind
	omit  bool
}

// plainTag is a tag's value of which nothing needs more than plainField: an optional
// name and omitempty.
var plainTag = regexp.MustCompile(`^([A-Za-z0-9_]*)(,omitempty)?$`)

// newPlainStruct returns how to code a struct type, or nil if the library has to, which
// is also so when the program has registered coders of its own with the library by now.
func newPlainStruct(t reflect.Type) *plainStruct {
	if t.Kind() != reflect.Struct || classify(t) != plan.Plain || encodesItself(t) {
		return nil
	}
	s, seen := new(plainStruct), map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("msgpack")
		if tag == "" {
			tag = f.Tag.Get("json")
		}
		if tag == "-" {
			continue
		}
		m := plainTag.FindStringSubmatch(tag)
		if m == nil || !f.IsExported() || f.Anonymous || !isPlain(f.Type) {
			return nil
		}
		p := plainField{name: m[1], index: i, kind: f.Type.Kind(), omit: m[2] != ""}
		if p.name == "" {
			p.name = f.Name
		}
		if seen[p.name] {
			return nil
		}
		seen[p.name] = true
		p.key, _ = msgpack.Marshal(p.name)
		s.fields = append(s.fields, p)
		s.omits = s.omits || p.omit
	}
	if len(s.fields) == 0 || !s.agrees(t) {
		return nil
	}
	return s
}

// encodesItself reports whether a type has methods that the library calls to encode it.
func encodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	for _, i := range []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[error](),
	} {
		if p.Implements(i) {
			return true
		}
	}
	return false
}

// isPlain reports whether a field's type is coded by its kind alone.
func isPlain(t reflect.Type) bool {
	if t.PkgPath() != "" && reflect.PointerTo(t).NumMethod() > 0 {
		return false
	}
	switch k := t.Kind(); k {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64:
		return true
	case reflect.Slice:
		return t == reflect.TypeFor[[]byte]()
	default:
		return k >= reflect.Int && k <= reflect.Uint64
	}
}

// agrees reports whether the library codes a struct just so. It doesn't where the program
// has registered coders of its own for the type or a field's.
func (s *plainStruct) agrees(t reflect.Type) bool {
	for _, v := range []reflect.Value{reflect.New(t).Elem(), s.sample(t)} {
		lib, own := newEncoder(), newEncoder()
		if lib.encode(v.Interface()) != nil || s.encode(own, v) != nil || !bytes.Equal(lib.out.buf, own.out.buf) {
			return false
		}
		want, got := reflect.New(t), reflect.New(t)
		d, data := newDecoder(0), lib.out.buf
		if d.decode(data, want.Interface(), want.Elem(), false) != nil || !s.takes(data) {
			return false
		}
		if d.plain(data, got.Interface(), got.Elem(), s) != nil || !reflect.DeepEqual(want.Interface(), got.Interface()) {
			return false
		}
	}
	return true
}

// sample returns a struct in which no field is zero.
func (s *plainStruct) sample(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	for i := range s.fields {
		f := v.Field(s.fields[i].index)
		switch k := s.fields[i].kind; k {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			f.SetString("text")
		case reflect.Float32, reflect.Float64:
			f.SetFloat(1.5)
		case reflect.Slice:
			f.SetBytes([]byte{1, 2})
		default:
			if f.CanInt() {
				f.SetInt(-100)
			} else {
				f.SetUint(200)
			}
		}
	}
	return v
}

// encode writes v, a struct.
func (s *plainStruct) encode(e *encoder, v reflect.Value) error {
	n := len(s.fields)
	if s.omits {
		n = 0
		for i := range s.fields {
			if !s.fields[i].omitted(v) {
				n++
			}
		}
	}
	e.lib.Reset(&e.out)
	if err := e.lib.EncodeMapLen(n); err != nil {
		return err
	}
	for i := range s.fields {
		f := &s.fields[i]
		if f.omitted(v) {
			continue
		}
		e.out.buf = append(e.out.buf, f.key...)
		if err := f.encode(e.lib, v.Field(f.index)); err != nil {
			return err
		}
	}
	return nil
}

func (f *plainField) omitted(v reflect.Value) bool {
	if !f.omit {
		return false
	}
	switch v = v.Field(f.index); f.kind {
	case reflect.Slice:
		return v.Len() == 0
	case reflect.Float32, reflect.Float64:
		return v.Float() == 0 // of either sign
	default:
		return v.IsZero()
	}
}

func (f *plainField) encode(lib *msgpack.Encoder, v reflect.Value) error {
	switch f.kind {
	case reflect.Bool:
		return lib.EncodeBool(v.Bool())
	case reflect.String:
		return lib.EncodeString(v.String())
	case reflect.Float32:
		return lib.EncodeFloat32(float32(v.Float()))
	case reflect.Float64:
		return lib.EncodeFloat64(v.Float())
	case reflect.Slice:
		return lib.EncodeBytes(v.Bytes())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return lib.EncodeInt(v.Int())
	default:
		return lib.EncodeUint(v.Uint())
	}
}

// takes reports whether data, which has been walked through, is what decode reads: a map.
func (s *plainStruct) takes(data []byte) bool {
	c := data[0]
	return msgpcode.IsFixedMap(c) || c == msgpcode.Map16 || c == msgpcode.Map32
}

// decode reads a map into v, a struct. d's input has been walked through and holds no extension.
func (s *plainStruct) decode(d *decoder, v reflect.Value) error {
	n, err := d.lib.DecodeMapLen()
	if err != nil {
		return err
	}
	for i := range n {
		name, ok := d.text()
		if !ok {
			other, err := d.lib.DecodeString() // nil, or the library's error
			if err != nil {
				return err
			}
			name = []byte(other)
		}
		f := s.find(name, i)
		if f == nil {
			err = d.lib.Skip()
		} else {
			err = f.decode(d, v.Field(f.index))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text reads a text, or bytes, without copying it. It reports false, and reads nothing, if
// something else comes. What it returns is valid as long as the input.
func (d *decoder) text() ([]byte, bool) {
	in := &d.in
	c := in.data[in.pos]
	if op := typedCodes[c].op; op != opText && op != opBlob && !msgpcode.IsFixedString(c) {
		return nil, false
	}
	payload, end, _ := span(in.data, in.pos)
	in.pos = end
	return in.data[payload:end], true
}

// find returns the field with a name, or nil. i is where the key stands in its map: most
// peers send the fields in order.
func (s *plainStruct) find(name []byte, i int) *plainField {
	if i < len(s.fields) && s.fields[i].name == string(name) {
		return &s.fields[i]
	}
	for i := range s.fields {
		if s.fields[i].name == string(name) {
			return &s.fields[i]
		}
	}
	return nil
}

func (f *plainField) decode(d *decoder, v reflect.Value) (err error) {
	lib := d.lib
	switch f.kind {
	case reflect.Bool:
		var b bool
		if b, err = lib.DecodeBool(); err == nil {
			v.SetBool(b)
		}
	case reflect.String:
		if b, ok := d.text(); ok {
			v.SetString(string(b))
			return nil
		}
		var s string
		if s, err = lib.DecodeString(); err == nil {
			v.SetString(s)
		}
	case reflect.Float32:
		var x float32
		if x, err = lib.DecodeFloat32(); err == nil {
			v.SetFloat(float64(x))
		}
	case reflect.Float64:
		var x float64
		if x, err = lib.DecodeFloat64(); err == nil {
			v.SetFloat(x)
		}
	case reflect.Slice:
		if b, ok := d.text(); ok {
			setBytes(v, b)
			return nil
		}
		return lib.Decode(v.Addr().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		if n, err = lib.DecodeInt64(); err == nil {
			v.SetInt(n)
		}
	default:
		var n uint64
		if n, err = lib.DecodeUint64(); err == nil {
			v.SetUint(n)
		}
	}
	return err
}

// setBytes copies b into a slice's memory, as the library does, if it has any.
func setBytes(v reflect.Value, b []byte) {
	if old := v.Bytes(); old != nil {
		v.SetBytes(append(old[:0], b...))
		return
	}
	v.SetBytes(bytes.Clone(b)) // which doesn't clear the memory first
}
