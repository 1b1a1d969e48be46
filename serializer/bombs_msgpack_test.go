package serializer_test

import (
	"bytes"
	"encoding/binary"
	"strings"
)

const room = messageLimit - 64

var msgpackBombs = []bomb{
	{"claims 2^32-1 items", func() []byte { return []byte{0xdd, 0xff, 0xff, 0xff, 0xff} }},
	{"claims 2^32-1 entries", func() []byte { return []byte{0xdf, 0xff, 0xff, 0xff, 0xff} }},
	{"claims 2^32-1 bytes", func() []byte { return []byte{0xc6, 0xff, 0xff, 0xff, 0xff} }},
	{"claims 2^32-1 bytes of text", func() []byte { return []byte{0xdb, 0xff, 0xff, 0xff, 0xff} }},
	{"claims items in items", func() []byte { return bytes.Repeat([]byte{0xdd, 0, 0x10, 0, 0}, room/5) }},
	{"map hidden in an extension", func() []byte { return []byte{0xc7, 6, 5, 0xdf, 0xff, 0xff, 0xff, 0xff, 0} }},
	{"map hidden in an extension in a field", func() []byte {
		b := append([]byte{0x82, 0xa3}, "map"...)
		b = append(b, 0xd6, 5, 0xdf, 0xff, 0xff, 0xff, 0xa8)
		return append(b, "pointers\xc7\x05\x01\xdf\xff\xff\xff\xff"...)
	}},
	{"nested arrays", func() []byte { return append(bytes.Repeat([]byte{0x91}, 2<<20), 0xc0) }},
	{"nested arrays in an unknown field", func() []byte {
		return append(append([]byte("\x81\xa7unknown"), bytes.Repeat([]byte{0x91}, 2<<20)...), 0xc0)
	}},
	{"nested maps", func() []byte { return append(bytes.Repeat([]byte("\x81\xa4left"), room/6), 0xc0) }},
	{"nested trees", func() []byte { return append(bytes.Repeat([]byte("\x81\xa8children\x91"), 60), 0x80) }},
	{"dense nil", func() []byte { return dense("\xc0", room) }},
	{"dense numbers", func() []byte { return dense("\x01", room) }},
	{"accepted numbers", func() []byte { return dense("\x01", 420_000) }},
	{"accepted numbers in any", func() []byte { return dense("\xcc\x01", 600_000) }},
	{"dense negative numbers", func() []byte { return dense("\xff", 200_000) }},
	{"floats", func() []byte { return dense("\xcb\x3f\xf3\xc0\xca\x42\x8c\x59\xfb", room) }},
	{"dense short floats", func() []byte { return dense("\xca\x3f\xf3\xc0\xca", room) }},
	{"dense empty text", func() []byte { return dense("\xa0", room) }},
	{"dense short text", func() []byte { return dense("\xa2ab", room) }},
	{"accepted short text", func() []byte { return dense("\xa2ab", 600_000) }},
	{"dense empty bytes", func() []byte { return dense("\xc4\x00", room) }},
	{"dense empty arrays", func() []byte { return dense("\x90", room) }},
	{"accepted empty arrays", func() []byte { return dense("\x90", 180_000) }},
	{"dense empty maps", func() []byte { return dense("\x80", room) }},
	{"dense small maps", func() []byte { return dense("\x81\xa0\xc0", room) }},
	{"accepted small maps", func() []byte { return dense("\x81\xa1a\xc0", 75_000) }},
	{"dense typed maps", func() []byte { return dense("\x81\x01\xc3", room) }},
	{"dense timestamps", func() []byte { return dense("\xd6\xff\x00\x00\x00\x01", room) }},
	{"accepted timestamps", func() []byte { return dense("\xd6\xff\x00\x00\x00\x01", 400_000) }},
	{"one large map", func() []byte { return keyed(room, "\xc0") }},
	{"a map of 30,000", func() []byte { return keyed(180_000, "\xc0") }},
	{"a map of 60,000", func() []byte { return keyed(360_000, "\x01") }},
	{"a map of 90,000", func() []byte { return keyed(540_000, "\x01") }},
	{"a map of numbers", func() []byte { return integers(60_000) }},
	{"a map of many numbers", func() []byte { return integers(400_000) }},
	{"long text", func() []byte { return append(counted(0xdb, room, nil), strings.Repeat("x", room)...) }},
	{"long bytes", func() []byte { return append(counted(0xc6, room, nil), strings.Repeat("x", room)...) }},
	{"long text in an unknown field", func() []byte {
		return append([]byte("\x81\xa7unknown"), append(counted(0xdb, room, nil), strings.Repeat("x", room)...)...)
	}},
	{"growing texts", growingTexts},
	{"a long raw message", func() []byte { return append([]byte("\x81\xa3raw"), dense("\x01", room)...) }},
	{"an accepted raw message", func() []byte { return append([]byte("\x81\xa3raw"), dense("\xcb12345678", 1_900_000)...) }},
}

// dense is an array that repeats one item.
func dense(item string, size int) []byte {
	n := size / len(item)
	return counted(0xdd, n, []byte(strings.Repeat(item, n)))
}

// keyed is a map whose keys are texts of four bytes.
func keyed(size int, value string) []byte {
	n := size / (5 + len(value))
	var body []byte
	for i := range n {
		body = append(body, 0xa4)
		body = binary.LittleEndian.AppendUint32(body, uint32(i))
		body = append(body, value...)
	}
	return counted(0xdf, n, body)
}

func integers(n int) []byte {
	var body []byte
	for i := range n {
		body = append(body, 0xce)
		body = append(binary.BigEndian.AppendUint32(body, uint32(i)), 0xc3)
	}
	return counted(0xdf, n, body)
}

func growingTexts() []byte {
	var body []byte
	n := 0
	for size := 70 << 10; len(body)+size < room; size += size / 3 {
		body = binary.BigEndian.AppendUint32(append(body, 0xdb), uint32(size))
		body = append(body, make([]byte, size)...)
		n++
	}
	return counted(0xdd, n, body)
}
