package serializer_test

import (
	"bytes"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

var protoBombs = []bomb{
	{"claims 2^63 bytes", func() []byte { return protowire.AppendVarint([]byte{0x0a}, 1<<63) }},
	{"claims 2^31 bytes", func() []byte { return protowire.AppendVarint([]byte{0x0a}, 1<<31) }},
	{"unknown fields", func() []byte { return fill("", "\xf8\x3f\x01", "") }},
	{"an unknown field", func() []byte { return delimited(1000, bytes.Repeat([]byte{1}, room)) }},
	{"groups", func() []byte { return fill("", "\x0b", "") }},
	{"unknown groups", func() []byte { return fill("", "\xfb\x3f", "") }},
	{"groups that end", func() []byte {
		return []byte(strings.Repeat("\x0b", 1<<20) + strings.Repeat("\x0c", 1<<20))
	}},
	{"nested values", func() []byte { return nestedMessages(2000, 6, 1) }},
	{"nested lists", func() []byte { return nestedMessages(100, 6, 1) }},
	{"nested descriptors", func() []byte { return nestedMessages(500, 3, 3) }},
	{"empty messages in field 1", func() []byte { return fill("", "\x0a\x00", "") }},
	{"empty messages in field 2", func() []byte { return fill("", "\x12\x00", "") }},
	{"empty messages in field 4", func() []byte { return fill("", "\x22\x00", "") }},
	{"empty messages in field 7", func() []byte { return fill("", "\x3a\x00", "") }},
	{"accepted empty messages", func() []byte { return []byte(strings.Repeat("\x0a\x00", 70_000)) }},
	{"accepted empty descriptors", func() []byte { return []byte(strings.Repeat("\x22\x00", 24_000)) }},
	{"accepted small lists", func() []byte { return delimited(6, []byte(strings.Repeat("\x0a\x00", 70_000))) }},
	{"map entries", func() []byte { return mapEntries(messageLimit) }},
	{"accepted map entries", func() []byte { return mapEntries(300_000) }},
	{"small maps", func() []byte { return fill("", "\x0a\x06\x2a\x04\x0a\x02\x0a\x00", "") }},
	{"accepted small maps", func() []byte { return []byte(strings.Repeat("\x0a\x06\x2a\x04\x0a\x02\x0a\x00", 12_000)) }},
	{"packed numbers", func() []byte { return delimited(1, bytes.Repeat([]byte{1}, room)) }},
	{"accepted packed numbers", func() []byte { return delimited(1, bytes.Repeat([]byte{1}, 2_500_000)) }},
	{"packed numbers again and again", func() []byte { return fill("", "\x0a\x08\x01\x01\x01\x01\x01\x01\x01\x01", "") }},
	{"packed numbers and one more", func() []byte { return append(delimited(1, bytes.Repeat([]byte{1}, 2_400_000)), 0x0a, 1, 1) }},
	{"numbers not packed", func() []byte { return fill("", "\x08\x01", "") }},
	{"long text", func() []byte { return delimited(1, bytes.Repeat([]byte{'x'}, room)) }},
	{"extensions", func() []byte { return fill("", "\xc2\x3e\x00", "") }},
}

func delimited(number protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
}

// nestedMessages puts messages into each other, in two fields by turns.
func nestedMessages(depth int, a, b protowire.Number) []byte {
	var data []byte
	for range depth {
		data = delimited(a, delimited(b, data))
	}
	return data
}

func mapEntries(size int) []byte {
	var data []byte
	for i := 0; len(data) < size-16; i++ {
		key := protowire.AppendVarint(nil, 1<<20|uint64(i))
		data = append(data, delimited(1, delimited(1, bytes.ReplaceAll(key, []byte{0x80}, []byte{1})))...)
	}
	return data
}
