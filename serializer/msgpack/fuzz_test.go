package msgpack_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

type fuzzed struct {
	ID    int64
	Small uint8
	Name  string
	Bytes []byte
	When  time.Time
	Map   map[string]int
	Keys  map[any]any
	Next  *fuzzed
	List  []fuzzed
	Any   any
	F     float32
	Arr   [3]int
}

var targets = []func() any{
	func() any { return new(any) },
	func() any { return new(fuzzed) },
	func() any { return new([]fuzzed) },
	func() any { return new([]any) },
	func() any { return new(map[string]any) },
	func() any { return new(map[any]any) },
	func() any { return new(map[string]string) },
	func() any { return new([]int64) },
	func() any { return new(time.Time) },
	func() any { return new(string) },
}

// FuzzDecode decodes anything into many types: nothing may panic, data must stay
// as it is, and what an any holds must survive another round.
func FuzzDecode(f *testing.F) {
	full := fuzzed{
		ID: -1, Name: "Ada", Bytes: []byte{1}, When: time.Unix(1e9, 5), Map: map[string]int{"a": 1}, Keys: map[any]any{1: "x"},
		Next: &fuzzed{}, List: []fuzzed{{}}, Any: []any{1.5, nil},
	}
	for _, v := range []any{full, nil, 5, "x", []any{map[string]any{"a": true}}, time.Unix(1<<35, 1)} {
		data, err := msgpack.Serializer.Encode(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xc7, 6, 5, 0xdf, 0xff, 0xff, 0xff, 0xff, 0})
	f.Add([]byte{0x81, 0xa3, 'M', 'a', 'p', 0xd5, 5, 0x81, 0xdd})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		for _, target := range targets {
			v := target()
			if msgpack.Serializer.Decode(data, v) != nil {
				continue
			}
			if !bytes.Equal(data, before) {
				t.Fatalf("decoding into %T changed the data", v)
			}
			again, err := msgpack.Serializer.Encode(nil, v)
			if err != nil {
				t.Fatalf("what was decoded into %T can't be encoded: %v", v, err)
			}
			if err := msgpack.Serializer.Decode(again, target()); err != nil {
				t.Fatalf("what was decoded into %T and encoded again, %x: %v", v, again, err)
			}
		}
	})
}
