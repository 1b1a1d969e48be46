package msgpack

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

type count int64

// everyPlain has every kind of plain field, and every tag.
type everyPlain struct {
	B     bool
	S     string `msgpack:"text"`
	I     int    `json:"i"`
	I8    int8   `json:"i8,omitempty"`
	I16   int16
	I32   int32 `msgpack:",omitempty" json:"other"`
	I64   int64
	U     uint
	U8    uint8 `json:"-"`
	U16   uint16
	U32   uint32
	U64   uint64
	F32   float32 `json:",omitempty"`
	F64   float64 `json:"f64,omitempty"`
	Bytes []byte
	Maybe []byte `json:"maybe,omitempty"`
	C     count
	Flag  bool `json:"flag,omitempty"`
}

// encodeTwice returns what the plain coder and what the library make of v, a plain struct.
func encodeTwice(t testing.TB, v any) (own, lib []byte) {
	t.Helper()
	s := newPlainStruct(reflect.TypeOf(v))
	if s == nil {
		t.Fatalf("%T is not plain", v)
	}
	e := newEncoder()
	if err := s.encode(e, reflect.ValueOf(v)); err != nil {
		t.Fatal(err)
	}
	own, e.out.buf = e.out.buf, nil
	if err := e.encode(v); err != nil {
		t.Fatal(err)
	}
	return own, e.out.buf
}

func TestPlainEncodesAsTheLibraryDoes(t *testing.T) {
	same := func(v everyPlain) bool {
		own, lib := encodeTwice(t, v)
		return bytes.Equal(own, lib)
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
	for _, v := range []everyPlain{
		{},
		{F32: float32(math.Copysign(0, -1)), F64: math.Copysign(0, -1)},
		{Bytes: []byte{}, Maybe: []byte{}},
		{I: math.MinInt64, I64: math.MaxInt64, U64: math.MaxUint64, I8: -33, I16: -129, U: 128},
	} {
		if !same(v) {
			t.Errorf("%+v", v)
		}
	}
}

// decodeTwice decodes data into two copies of target, a pointer to a plain struct.
func decodeTwice(t testing.TB, data []byte, target func() any) {
	t.Helper()
	own, lib := target(), target()
	rv := reflect.ValueOf(own).Elem()
	info := Serializer.(*codec).typeInfo(rv.Type(), new(typed))
	s := info.plain
	if len(data) == 0 || !s.takes(data) {
		return
	}
	w := walk{plan: info.plan, stack: make([]int64, 100), depth: 100, budget: 1 << 20}
	if w.run(data) != nil || w.ext {
		return
	}
	before := bytes.Clone(data)
	ownErr := newDecoder(100).plain(data, own, rv, s)
	libErr := newDecoder(100).decode(data, lib, reflect.ValueOf(lib).Elem(), false)
	if (ownErr == nil) != (libErr == nil) {
		t.Fatalf("%x: %v; the library: %v", data, ownErr, libErr)
	}
	if ownErr == nil && !equal(own, lib) {
		t.Fatalf("%x: %+v; the library: %+v", data, own, lib)
	}
	if !bytes.Equal(data, before) {
		t.Fatal("the data has changed")
	}
}

// equal is reflect.DeepEqual for everyPlain, whose floats may be no numbers.
func equal(a, b any) bool {
	x, y := *a.(*everyPlain), *b.(*everyPlain)
	if math.Float32bits(x.F32) != math.Float32bits(y.F32) || math.Float64bits(x.F64) != math.Float64bits(y.F64) {
		return false
	}
	x.F32, x.F64, y.F32, y.F64 = 0, 0, 0, 0
	return reflect.DeepEqual(x, y)
}

// empty and full are what is decoded into.
func empty() any { return new(everyPlain) }

func full() any {
	return &everyPlain{S: "s", Bytes: []byte("long enough for most"), Maybe: []byte{1}, I: 5, F64: 1, Flag: true}
}

// mixed are maps whose values don't have the types of the fields.
func mixed() (all [][]byte) {
	values := []any{nil, true, "text", []byte("bytes"), -1, 200, 1 << 40, 1.5, float32(2), []int{1}, map[string]int{"a": 1}, uint64(math.MaxUint64), ""}
	for _, key := range []any{"B", "text", "i", "I64", "U8", "U16", "F32", "f64", "Bytes", "maybe", "C", "unknown", "", nil, 5, []byte("i")} {
		for _, v := range values {
			data, _ := msgpack.Marshal(key)
			value, _ := msgpack.Marshal(v)
			data = append(append([]byte{0x81}, data...), value...)
			all = append(all, data)
		}
	}
	return all
}

func TestPlainDecodesAsTheLibraryDoes(t *testing.T) {
	for _, data := range mixed() {
		decodeTwice(t, data, empty)
		decodeTwice(t, data, full)
	}
	r := rand.New(rand.NewPCG(1, 2))
	same := func(v everyPlain) bool {
		_, data := encodeTwice(t, v)
		decodeTwice(t, data, empty)
		decodeTwice(t, data, full)
		for range 20 {
			data[r.IntN(len(data))] = byte(r.Uint32())
			decodeTwice(t, data, full)
		}
		return true
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

func FuzzPlainDecode(f *testing.F) {
	for _, data := range mixed() {
		f.Add(data)
	}
	e := newEncoder()
	_ = e.encode(full())
	f.Add(e.out.buf)
	f.Fuzz(func(t *testing.T, data []byte) {
		decodeTwice(t, data, empty)
		decodeTwice(t, data, full)
	})
}

type (
	marshaler struct{ A int }
	texter    struct{ A int }
	fault     struct{ A int }
	temporal  struct{ At time.Time }
	nested    struct{ In everyPlain }
	embedded  struct{ everyPlain }
	pointed   struct{ A *int }
	listed    struct{ A []int }
	aliased   struct {
		A int `msgpack:"a,alias:b"`
	}
	arrayed struct {
		_msgpack struct{} `msgpack:",as_array"`
		A        int
	}
	hidden     struct{ a int }
	duplicated struct {
		A int
		B int `json:"A"`
	}
	methodical struct{ L level }
	level      int
	registered struct{ A int }
	none       struct{}
	octets     struct{ B named }
	named      []byte
)

func (marshaler) MarshalMsgpack() ([]byte, error) { return []byte{1}, nil }
func (*texter) MarshalText() ([]byte, error)      { return []byte("t"), nil }
func (*fault) Error() string                      { return "fault" }
func (level) MarshalText() ([]byte, error)        { return []byte("level"), nil }

func TestOthersAreLeftToTheLibrary(t *testing.T) {
	msgpack.Register(registered{}, func(e *msgpack.Encoder, _ reflect.Value) error { return e.EncodeString("own") },
		func(*msgpack.Decoder, reflect.Value) error { return errors.New("own") })
	_ = hidden{}.a
	_ = arrayed{}._msgpack
	for _, v := range []any{
		marshaler{},
		texter{},
		fault{},
		temporal{},
		nested{},
		embedded{},
		pointed{},
		listed{},
		aliased{},
		arrayed{},
		hidden{},
		duplicated{},
		methodical{},
		registered{},
		none{},
		octets{},
		5,
		map[string]int{},
	} {
		if newPlainStruct(reflect.TypeOf(v)) != nil {
			t.Errorf("%T counts as plain", v)
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	v := &struct {
		ID      int64  `json:"id"`
		Name    string `json:"name"`
		Payload []byte `json:"payload"`
	}{1 << 40, "Ada Lovelace", bytes.Repeat([]byte{7}, 24)}
	data, err := Serializer.Encode(nil, v)
	if err != nil {
		b.Fatal(err)
	}
	target := reflect.New(reflect.TypeOf(v).Elem())
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data, _ = Serializer.Encode(data[:0], v)
		}
	})
	b.Run("encode/library", func(b *testing.B) {
		e := newEncoder()
		b.ReportAllocs()
		for b.Loop() {
			e.out.buf = e.out.buf[:0]
			_ = e.encode(v)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			target.Elem().SetZero()
			_ = Serializer.Decode(data, target.Interface())
		}
	})
	b.Run("decode/library", func(b *testing.B) {
		d := newDecoder(100)
		b.ReportAllocs()
		for b.Loop() {
			target.Elem().SetZero()
			_ = d.decode(data, target.Interface(), target.Elem(), false)
		}
	})
}
