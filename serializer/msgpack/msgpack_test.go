package msgpack_test

import (
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	lib "github.com/vmihailenco/msgpack/v5"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/serializertest"
)

func TestConformance(t *testing.T) {
	serializertest.Test(t, msgpack.Serializer)
	serializertest.Test(t, msgpack.New(serializer.Limits{Depth: 10, Memory: 1 << 16}))
}

type tagged struct {
	Both   int        `json:"j" msgpack:"m"`
	JSON   string     `json:"name,omitempty"`
	Hidden int        `json:"-"`
	When   time.Time  `json:"when"`
	Addr   netip.Addr `json:"addr"`
	F      float64    `json:"f"`
	Any    any        `json:"any"`
	M      map[int]string
}

func roundTrip(t *testing.T, in, out any) []byte {
	t.Helper()
	data, err := msgpack.Serializer.Encode(nil, in)
	if err != nil {
		t.Fatal(err)
	}
	if err := msgpack.Serializer.Decode(data, out); err != nil {
		t.Fatalf("%T in %x: %v", in, data, err)
	}
	return data
}

func TestTags(t *testing.T) {
	in := tagged{Both: 1, Hidden: 2, When: time.Unix(1<<33, 5), Addr: netip.MustParseAddr("::1"), F: math.Copysign(0, -1), M: map[int]string{-5: "x"}}
	var out tagged
	data := roundTrip(t, in, &out)
	if !out.When.Equal(in.When) || out.Addr != in.Addr || !math.Signbit(out.F) || out.M[-5] != "x" || out.Both != 1 || out.Hidden != 0 {
		t.Errorf("%+v", out)
	}
	var names map[string]any
	if err := msgpack.Serializer.Decode(data, &names); err != nil {
		// The map with numbers for keys can't be an any's.
		in.M = nil
		names = nil
		roundTrip(t, in, &names)
	}
	for name, want := range map[string]bool{"m": true, "j": false, "name": false, "when": true, "Hidden": false, "M": true} {
		if _, ok := names[name]; ok != want {
			t.Errorf("field %q is there: %v", name, ok)
		}
	}
	if _, ok := names["when"].(time.Time); !ok {
		t.Errorf("a time in an any is a %T", names["when"])
	}
}

func TestTimestamps(t *testing.T) {
	// Payloads that begin like a map, next to maps, in each of the three forms.
	type stamps struct {
		A, B, C time.Time
		M       map[string]int
		List    []time.Time
	}
	in := stamps{
		A: time.Unix(0x83000000, 0), B: time.Unix(1, 0x83000000>>2), C: time.Unix(-1, 0x20000000),
		M: map[string]int{"x": 1}, List: []time.Time{time.Unix(0x80000000, 0), time.Unix(0xdf000000, 0)},
	}
	var out stamps
	roundTrip(t, in, &out)
	if !out.A.Equal(in.A) || !out.B.Equal(in.B) || !out.C.Equal(in.C) || out.M["x"] != 1 || !out.List[1].Equal(in.List[1]) {
		t.Errorf("%+v", out)
	}
	var v any
	roundTrip(t, in, &v)
}

type interned struct {
	A, B string `msgpack:",intern"`
	T    time.Time
}

func TestInterned(t *testing.T) {
	in := interned{A: "the same text", B: "the same text", T: time.Unix(5, 0)}
	var out interned
	data := roundTrip(t, in, &out)
	if out.A != in.A || out.B != in.B || strings.Count(string(data), in.A) != 1 {
		t.Errorf("%+v in %q", out, data)
	}
}

func TestInterfaces(t *testing.T) {
	var v any = 5
	if err := msgpack.Serializer.Decode([]byte{0x2a}, &v); err != nil || v != int8(42) {
		t.Errorf("over a number: %v, %v", v, err)
	}
	if err := msgpack.Serializer.Decode([]byte{0xc0}, &v); err != nil || v != nil {
		t.Errorf("nil over a number: %v, %v", v, err)
	}
	var list []int64
	v = &list
	if err := msgpack.Serializer.Decode([]byte{0x92, 1, 2}, &v); err != nil || len(list) != 2 {
		t.Errorf("through a pointer: %v, %v", list, err)
	}
	for value, want := range map[any]any{1 << 20: uint32(1 << 20), -200: int16(-200), "x": "x", 1.5: 1.5, true: true} {
		v = nil
		if roundTrip(t, value, &v); v != want {
			t.Errorf("%v became %T %v", value, v, v)
		}
	}
}

// TestLeftAsItIs pins what the library does and the documentation says.
func TestLeftAsItIs(t *testing.T) {
	var small int8
	if roundTrip(t, 300, &small); small != 44 {
		t.Errorf("300 in an int8 is %d", small)
	}
	var v any
	if err := msgpack.Serializer.Decode([]byte{0x81, 1, 2}, &v); err == nil {
		t.Errorf("a map with a number for a key became %v", v)
	}
}

func TestDecodeErrors(t *testing.T) {
	for data, want := range map[string]string{
		"":                                   "msgpack: there is no data",
		"\x92\x01":                           "msgpack: 2 more values are declared in 1 bytes",
		"\x81\xa1a":                          "msgpack: the data ends in the middle",
		"\xcd\x01":                           "msgpack: the data ends in the middle",
		"\xd9":                               "msgpack: the data ends in the middle",
		"\xd9\x05abcd":                       "msgpack: the data ends in the middle",
		"\xc7\x00":                           "msgpack: the data ends in the middle",
		"\xd8\x01":                           "msgpack: the data ends in the middle",
		"\xdd\x00\x00":                       "msgpack: the data ends in the middle",
		"\x91\xc1":                           "msgpack: byte 0xc1 stands for nothing",
		"\x01\x02":                           "msgpack: 1 bytes follow the value",
		"\xdc\xff\xff\x00":                   "msgpack: 65535 more values are declared in 1 bytes",
		"\xdf\xff\xff\xff\xff":               "msgpack: 8589934590 more values",
		strings.Repeat("\x91", 128) + "\x90": "msgpack: nested deeper than 128 levels",
		"\xa1x":                              "msgpack: cannot decode into *map[string]int: ",
		"\xd4\x05\x80":                       "msgpack: cannot decode into *map[string]int: msgpack: an extension stands where",
		"\xc8\x00\x01\x05\x80":               "msgpack: cannot decode into *map[string]int: msgpack: an extension stands where",
		"\xc9\x00\x00\x00\x01\x05\x80":       "msgpack: cannot decode into *map[string]int: msgpack: an extension stands where",
	} {
		m := map[string]int{}
		if err := msgpack.Serializer.Decode([]byte(data), &m); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20x: %v, want %s", data, err, want)
		}
	}
}

type panicker struct{}

func (panicker) EncodeMsgpack(*lib.Encoder) error  { panic("at the disco") }
func (*panicker) DecodeMsgpack(*lib.Decoder) error { panic("at the disco") }

type failing struct{ err error }

func (f failing) EncodeMsgpack(e *lib.Encoder) error {
	e.UseArrayEncodedStructs(true)
	_ = e.EncodeString("half")
	return f.err
}

func TestPanicsAndErrors(t *testing.T) {
	out, err := msgpack.Serializer.Encode([]byte("before"), panicker{})
	if err == nil || string(out) != "before" || !strings.Contains(err.Error(), "panicked: at the disco") {
		t.Errorf("%q, %v", out, err)
	}
	if err := msgpack.Serializer.Decode([]byte{1}, new(panicker)); err == nil || !strings.Contains(err.Error(), "panicked: at the disco") {
		t.Errorf("%v", err)
	}
	stop := errors.New("stop")
	out, err = msgpack.Serializer.Encode([]byte("before"), failing{stop})
	if !errors.Is(err, stop) || string(out) != "before" {
		t.Errorf("%q, %v", out, err)
	}
	// What a type has set on the encoder doesn't last.
	if out, err := msgpack.Serializer.Encode(nil, struct{ A int }{1}); err != nil || string(out) != "\x81\xa1A\x01" {
		t.Errorf("%x, %v", out, err)
	}
	keys := map[any]int{}
	if err := msgpack.Serializer.Decode([]byte{0x81, 0x91, 1, 1}, &keys); err == nil {
		t.Errorf("an array is the key of %v", keys)
	}
	var pointer any = (*int)(nil)
	if err := msgpack.Serializer.Decode([]byte{1}, &pointer); err == nil {
		t.Error("decoded into a nil pointer in an interface")
	}
}

func TestLimits(t *testing.T) {
	dense := append([]byte{0xdd, 0, 0x10, 0, 0}, make([]byte, 1<<20)...)
	var limit *serializer.LimitError
	if err := msgpack.Serializer.Decode(dense, new([]any)); !errors.As(err, &limit) || limit.Limit != serializer.LimitMemory {
		t.Errorf("a million numbers in an any: %v", err)
	}
	if err := msgpack.New(serializer.Limits{Memory: 1 << 30}).Decode(dense, new([]any)); err != nil {
		t.Errorf("a million numbers where they are allowed: %v", err)
	}
	if err := msgpack.Serializer.Decode(dense, new([]byte)); err == nil {
		t.Error("an array of numbers became bytes")
	}
	deep := append([]byte(strings.Repeat("\x91", 200)), 1)
	if err := msgpack.New(serializer.Limits{Depth: 200}).Decode(deep, new(any)); err != nil {
		t.Errorf("200 levels where they are allowed: %v", err)
	}
}

// TestUsable holds that ordinary large messages are within the limits.
func TestUsable(t *testing.T) {
	type user struct {
		ID   int64
		Name string
		Tags []string
	}
	users := make([]user, 20_000)
	floats := make([]float64, 460_000)
	for i := range users {
		users[i] = user{int64(i), strings.Repeat("x", i%50), []string{"a", "b"}}
	}
	for i := range floats {
		floats[i] = math.Sqrt(float64(i))
	}
	for _, v := range []any{
		users, floats,
		struct{ F []float64 }{floats},
		strings.Repeat("x", 4<<20), make([]byte, 4<<20),
		struct{ B []byte }{make([]byte, 16<<20)},
		make([]float64, 1<<20),
		struct{ R lib.RawMessage }{make([]byte, 1<<20)},
	} {
		out := reflect.New(reflect.TypeOf(v))
		if s, ok := v.(struct{ R lib.RawMessage }); ok {
			s.R = append([]byte{0xdd, 0, 0x0f, 0xff, 0xfb}, s.R[5:]...)
			v = s
		}
		if roundTrip(t, v, out.Interface()); !reflect.DeepEqual(out.Elem().Interface(), v) {
			t.Errorf("%T came back otherwise", v)
		}
	}
}
