package json_test

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/serializertest"
)

func TestConformance(t *testing.T) {
	serializertest.Test(t, json.Serializer)
	serializertest.Test(t, json.New(serializer.Limits{Depth: 10, Memory: 1 << 16}))
}

type inner struct {
	Deep string `json:"deep"`
}

// odd has what is left to encoding/json.
type odd struct {
	inner
	*record
	Quoted int              `json:"quoted,string"`
	Zero   time.Time        `json:"zero,omitzero"`
	Addr   netip.Addr       `json:"addr"`
	Big    *big.Int         `json:"big"`
	ByID   map[int32]string `json:"byID"`
}

func TestLikeStandard(t *testing.T) {
	for _, v := range []any{
		nil, true, 1.5, math.MaxFloat64, float32(0.1), int64(math.MinInt64), "a<b>&\u2028\x01\xff", []byte("hi"), []int(nil),
		[]int{},
		map[string]any{"b": nil, "a": []any{1, "x"}},
		record{ID: 1, F: 1e21, Next: &record{Name: "n"}},
		odd{inner: inner{"d"}, record: &record{ID: 3}, Quoted: 5, Big: big.NewInt(7), ByID: map[int32]string{2: "b", -1: "a"}},
		&odd{Zero: time.Unix(0, 0).UTC(), Addr: netip.MustParseAddr("::1")}, time.Unix(1e9, 5).UTC(), stdjson.RawMessage("[1, 2]\n"),
	} {
		want, err := stdjson.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Serializer.Encode(nil, v)
		if err != nil || string(got) != string(want) {
			t.Errorf("%T: %s, %v; encoding/json gives %s", v, got, err, want)
		}
		if v == nil {
			continue
		}
		a, b := reflect.New(reflect.TypeOf(v)).Interface(), reflect.New(reflect.TypeOf(v)).Interface()
		compare(t, want, a, b)
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, v := range []any{math.NaN(), math.Inf(1), make(chan int), map[string]any{"f": func() {}}, map[bool]int{}, badMarshaler{}, panicker{}} {
		out, err := json.Serializer.Encode([]byte("before"), v)
		if err == nil || string(out) != "before" || !strings.HasPrefix(err.Error(), "json: ") {
			t.Errorf("%T: %q, %v", v, out, err)
		}
	}
}

type badMarshaler struct{}

func (badMarshaler) MarshalJSON() ([]byte, error) { return []byte("{"), nil }

type panicker struct{}

func (panicker) MarshalJSON() ([]byte, error) { panic("at the disco") }
func (*panicker) UnmarshalJSON([]byte) error  { panic("at the disco") }

func TestDecodeErrors(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{``, "json: there is no data"},
		{` `, "json: the data ends at byte 1; expected a value"},
		{`[1`, "json: the data ends at byte 2; expected ',' or ']'"},
		{`{"a":1]`, "json: ']' at byte 6; expected ',' or '}'"},
		{`{"a"`, "json: the data ends at byte 4; expected ':'"},
		{`{a:1}`, "json: 'a' at byte 1; expected a key in quotes"},
		{`{"a:1}`, "json: the data ends at byte 6; expected '\"' at the end of the text"},
		{`{"\`, "json: the data ends at byte 3; expected an escape"},
		{`"\u12`, "json: the data ends at byte 5; expected a hexadecimal digit"},
		{`"\u12g`, "json: 'g' at byte 5; expected a hexadecimal digit"},
		{`"\x"`, "json: 'x' at byte 2; expected one of"},
		{"\"\n\"", "json: '\\n' at byte 1; expected an escape"},
		{`nul`, "json: 'n' at byte 0; expected null"},
		{`[1,]`, "json: ']' at byte 3; expected a value"},
		{`1 2`, "json: '2' at byte 2; expected nothing after the value"},
		{`1.`, "json: the data ends at byte 2; expected a digit after the point"},
		{`1e+`, "json: the data ends at byte 3; expected a digit in the exponent"},
		{strings.Repeat("1", json.MaxNumber+1), "json: the length 1025 of a number is over 1024"},
		{strings.Repeat("[", 129), "json: nested deeper than 128 levels"},
		{`"text"`, "json: cannot decode into *int: "},
		{`5e0`, "json: cannot decode into *int: the value is of another type"},
	} {
		var n int
		if err := json.Serializer.Decode([]byte(test.data), &n); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%.40q: %v, want %s", test.data, err, test.want)
		}
	}
	if err := json.Serializer.Decode([]byte("{}"), new(panicker)); err == nil || !strings.Contains(err.Error(), "panicked: at the disco") {
		t.Errorf("after a panic: %v", err)
	}
}

func TestLimits(t *testing.T) {
	nested := strings.Repeat(`[`, 127) + `{"a":[]}` + strings.Repeat(`]`, 127)
	var limit *serializer.LimitError
	if err := json.Serializer.Decode([]byte(nested), new(any)); !errors.As(err, &limit) || limit.Limit != serializer.LimitDepth {
		t.Errorf("129 levels: %v", err)
	}
	if err := json.New(serializer.Limits{Depth: 129}).Decode([]byte(nested), new(any)); err != nil {
		t.Errorf("129 levels where they are allowed: %v", err)
	}
	dense := "[" + strings.Repeat("[],", 1<<20) + "1]"
	if err := json.Serializer.Decode([]byte(dense), new(any)); !errors.As(err, &limit) || limit.Limit != serializer.LimitMemory {
		t.Errorf("a million arrays: %v", err)
	}
	if err := json.New(serializer.Limits{Memory: 1 << 30}).Decode([]byte(dense), new(any)); err != nil {
		t.Errorf("a million arrays where they are allowed: %v", err)
	}
	text := `"` + strings.Repeat("x", 4<<20) + `"`
	if err := json.Serializer.Decode([]byte(text), new(string)); err != nil {
		t.Errorf("a long text: %v", err)
	}
	for _, text := range []string{strings.Repeat(`\u00e9`, 20_000), strings.Repeat("\xff", 10_000), `\ud83d\ude00`} {
		compare(t, []byte(`"`+text+`"`), new(string), new(string))
	}
}

type user struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	Photo  []byte `json:"photo"`
	Scores []int  `json:"scores"`
}

// TestUsable holds that ordinary large messages are within the limits.
func TestUsable(t *testing.T) {
	users := make([]user, 10_000)
	for i := range users {
		users[i] = user{ID: int64(i), Name: fmt.Sprint("name ", i), Photo: make([]byte, 100), Scores: []int{1, 2}}
	}
	floats := make([]float64, 150_000)
	for i := range floats {
		floats[i] = math.Sqrt(float64(i))
	}
	for _, v := range []any{users, floats, map[string]any{"text": strings.Repeat("é", 1<<20)}} {
		data, err := json.Serializer.Encode(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(v))
		if err := json.Serializer.Decode(data, got.Interface()); err != nil {
			t.Errorf("%T in %d bytes: %v", v, len(data), err)
		} else if !reflect.DeepEqual(got.Elem().Interface(), v) {
			t.Errorf("%T came back otherwise", v)
		}
	}
}

// TestDecodesIntoPointer is about an interface that holds a pointer.
func TestDecodesIntoPointer(t *testing.T) {
	var r record
	var v any = &r
	if err := json.Serializer.Decode([]byte(`{"id":7}`), &v); err != nil || r.ID != 7 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestKnownDifferences pins what still differs from encoding/json, for the package's documentation.
func TestKnownDifferences(t *testing.T) {
	v := struct{ Name string }{"Ada"}
	if err := json.Serializer.Decode([]byte(`{"Name":null}`), &v); err != nil || v.Name != "" {
		t.Errorf("null for a string: %+v, %v", v, err)
	}
	v.Name = ""
	if err := json.Serializer.Decode([]byte(`{"\u0145ame":"x","Name\u017f":"y"}`), &v); err != nil || v.Name != "" {
		t.Errorf("letters outside ASCII: %+v, %v", v, err)
	}
	var odd struct{ Is string }
	if err := json.Serializer.Decode([]byte(`{"i\u017f":"x"}`), &odd); err != nil || odd.Is != "" {
		t.Errorf("a letter that folds to ASCII: %+v, %v", odd, err)
	}
	var m any = stdjson.RawMessage("[1,\t2]")
	if data, err := json.Serializer.Encode(nil, []any{m}); err != nil || string(data) != "[[1,\t2]]" {
		t.Errorf("a raw message in an interface: %q, %v", data, err)
	}
}
