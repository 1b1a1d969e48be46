package json_test

import (
	stdjson "encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
)

// record has a field of every kind that json-iterator reads itself.
type record struct {
	ID    int64             `json:"id"`
	Small int8              `json:"small,omitempty"`
	U     uint32            `json:"u"`
	Name  string            `json:"name"`
	F     float64           `json:"f"`
	F32   float32           `json:"f32"`
	B     bool              `json:"b"`
	Bytes []byte            `json:"bytes"`
	Ints  []int             `json:"ints"`
	Arr   [2]int            `json:"arr"`
	Map   map[string]int    `json:"map"`
	Text  map[string]string `json:"text"`
	Ptr   *int              `json:"ptr"`
	Any   any               `json:"any"`
	Next  *record           `json:"next"`
	List  []record          `json:"list"`
}

var seeds = []string{
	`null`, `true`, ` false `, `0`, `-0`, `1e5`, `1.5`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `1e400`, `9007199254740993`,
	`12345678901234567890`, `0.1234567890123456789`, `""`, `"a\n\u00e9\ud83d\ude00"`, `"\ud800"`, `"\ud800\ud800\udc00"`,
	"\"\xff\"", "\"\x01\"", `"\x"`, `"\u12g4"`, `[]`, `[1,2,]`, `[1 2]`, `{}`, `{"a":1,}`, `{"a" 1}`, `{1:2}`, `{"a":1}x`,
	`{"id":7,"name":"Ada","f":1.5,"bytes":"aGk=","ints":[1,2],"arr":[1,2,3],"map":{"a":1},"any":[null,{"b":"c"}]}`,
	`{"ID":7,"Name":"x","unknown":[[1,{"a":"b"}]],"ptr":null,"next":{"id":1},"list":[{},{"id":2}]}`,
	`{"id":"x"}`, `{"id":1.5}`, `{"small":300}`, `{"u":-1}`, `{"f32":1e40}`, `{"bytes":"!"}`, `{"name":5}`, `{"b":"true"}`,
	`{"id":1,"id":2}`, `{"any":1,"any":{"a":1}}`, "\x00", "1\x00", "[1]\n", "\xef\xbb\xbf1", `{"bytes":[1,2]}`, `{"arr":[1]}`,
	`{"map":{"a":1},"map":{"b":2}}`, `{"ptr":1,"ptr":2}`, `{"arr":null,"ints":null,"map":null,"bytes":null}`,
}

// targets make a new value of every type that is compared.
var targets = []func() any{
	func() any { return new(any) },
	func() any { return new(map[string]any) },
	func() any { return new([]any) },
	func() any { return new(record) },
	func() any { return new([]record) },
	func() any { return new(int64) },
	func() any { return new(float64) },
	func() any { return new(string) },
	func() any { return new([]byte) },
	func() any { return new(map[string]string) },
	func() any { return new(map[int]bool) },
	func() any { return new(stdjson.RawMessage) },
	func() any { return new(stdjson.Number) },
}

// FuzzDifferential holds Decode to encoding/json: the same data is accepted, and
// gives the same value.
func FuzzDifferential(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, target := range targets {
			compare(t, data, target(), target())
		}
	})
}

func compare(t *testing.T, data []byte, want, got any) {
	t.Helper()
	wantErr := stdjson.Unmarshal(data, want)
	err := json.Serializer.Decode(data, got)
	var limit *serializer.LimitError
	if errors.As(err, &limit) {
		return
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q into %T: %v, encoding/json says %v", data, got, err, wantErr)
	}
	if err == nil && !same(got, want) {
		t.Fatalf("%q: %+v, encoding/json gives %+v", data, got, want)
	}
}

func same(a, b any) bool {
	if x, ok := a.(*float64); ok && math.IsNaN(*x) {
		return math.IsNaN(*b.(*float64))
	}
	return reflect.DeepEqual(a, b)
}
