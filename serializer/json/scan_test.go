package json

import (
	stdjson "encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
)

func scanned(data []byte, v any) error {
	c := Serializer.(*codec)
	_, err := c.scan(data, c.plans.For(reflect.TypeOf(v)))
	return err
}

// FuzzScan holds the scan to encoding/json: what is valid there is valid here.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+10,"\u00e9\n",true,null,{}]}`, `[]`, "1e", `"\ud800"`, "\"\xff\"", "[1,]", "-", "00", "\"1234567\\", "  1  "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := scanned(data, 0)
		var limit *serializer.LimitError
		if !errors.As(err, &limit) && (err == nil) != stdjson.Valid(data) {
			t.Fatalf("%q: %v, encoding/json says %v", data, err, stdjson.Valid(data))
		}
	})
}

func TestPlainBytes(t *testing.T) {
	for _, c := range []byte{'"', '\\', 0, 0x1f, 0x80, 0xff, '\n'} {
		for at := range 17 {
			text := []byte(strings.Repeat("x", at) + string(rune('~')) + strings.Repeat("y", 20))
			text[at] = c
			if n := plainBytes(text); n > at || at-n >= 8 {
				t.Errorf("%q: %d bytes are plain", text, n)
			}
		}
	}
}

func BenchmarkScan(b *testing.B) {
	data := []byte(`{"ID":1234567,"Name":"benchmark","Payload":"MDEyMzQ1Njc4OWFiY2RlZg=="}`)
	c := Serializer.(*codec)
	p := c.plans.For(reflect.TypeFor[struct {
		ID      int64
		Name    string
		Payload []byte
	}]())
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := c.scan(data, p); err != nil {
			b.Fatal(err)
		}
	}
}
