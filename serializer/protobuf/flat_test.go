package protobuf_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// Messages without lists and messages inside are refused for the same reasons whether they are walked through first, as
// long ones are, or not.
func TestFlatMessages(t *testing.T) {
	text := func(n int) []byte { // n empty values of the field type_url
		return bytes.Repeat([]byte{0x0a, 0}, n)
	}
	deep := func(n int) []byte { // n groups of a field that Any doesn't have, one in the other
		return append(bytes.Repeat([]byte{0x7b}, n), bytes.Repeat([]byte{0x7c}, n)...)
	}
	for _, padding := range []int{0, 5 << 10} {
		pad := append([]byte{0x12, byte(padding&0x7f | 0x80), byte(padding >> 7)}, make([]byte, padding)...)
		if padding == 0 {
			pad = nil
		}
		for name, tt := range map[string]struct {
			data []byte
			ok   bool
		}{
			"occurrences":           {text(60), true},
			"groups":                {deep(10), true},
			"groups too deep":       {deep(1500), false},
			"a group without end":   {[]byte{0x7b}, false},
			"an end without group":  {[]byte{0x7c}, false},
			"a length too long":     {[]byte{0x0a, 9, 'x'}, false},
			"a tag cut off":         {[]byte{0xff}, false},
			"field number 0":        {[]byte{0x02, 0}, false},
			"text that isn't UTF-8": {[]byte{0x0a, 1, 0xff}, false},
		} {
			m := new(anypb.Any)
			err := protobuf.Serializer.Decode(append(bytes.Clone(pad), tt.data...), m)
			if (err == nil) != tt.ok || err != nil && !strings.HasPrefix(err.Error(), "protobuf: ") {
				t.Errorf("%s, after %d bytes: %v", name, padding, err)
			}
		}
	}
	var limit *serializer.LimitError
	small := protobuf.New(serializer.Limits{Memory: 1 << 10})
	if err := small.Decode(text(1000), new(anypb.Any)); !errors.As(err, &limit) {
		t.Errorf("1,000 occurrences in 1 KiB of memory: %v", err)
	}
	for n := range 100 { // on both sides of what needs no walk
		err := small.Decode(text(n+1), new(anypb.Any))
		if fits := 32*(n+1) <= 1<<10+2*(n+1); fits != (err == nil) {
			t.Errorf("%d occurrences: %v", n+1, err)
		}
		if err := protobuf.Serializer.Decode(deep(n+40), new(anypb.Any)); (err == nil) != (n+40 < serializer.DefaultDepth) {
			t.Errorf("%d groups: %v", n+40, err)
		}
	}
}
