package flyrpc

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

// samePacket says how two packets differ, "" if they don't.
func samePacket(got, want Packet) string {
	switch {
	case got.Flag != want.Flag:
		return fmt.Sprintf("flag %#x, want %#x", got.Flag, want.Flag)
	case got.Sequence != want.Sequence:
		return fmt.Sprintf("sequence %d, want %d", got.Sequence, want.Sequence)
	case got.Code != want.Code:
		return fmt.Sprintf("code %.40q, want %.40q", got.Code, want.Code)
	case !bytes.Equal(got.Meta, want.Meta):
		return fmt.Sprintf("metadata %.40x, want %.40x", got.Meta, want.Meta)
	case !bytes.Equal(got.Payload, want.Payload):
		return fmt.Sprintf("payload %.40x (%d), want %.40x (%d)", got.Payload, len(got.Payload), want.Payload, len(want.Payload))
	}
	return ""
}

func TestAppendPacketLimits(t *testing.T) {
	long := strings.Repeat("a", maxCodeLen)
	for _, c := range []struct {
		name string
		p    Packet
		want error // nil: any text
		part string
	}{
		{"code of 4 KiB", Packet{Code: long}, nil, ""},
		{"code of 4 KiB + 1", Packet{Code: long + "a"}, ErrLongCode, "4097 bytes"},
		{"zero byte in the code", Packet{Code: "a\x00b"}, nil, "zero byte"},
		{"zero byte first", Packet{Code: "\x00"}, nil, "zero byte"},
		{"zero byte last", Packet{Code: long[1:] + "\x00"}, nil, "zero byte"},
		{"metadata of 8 KiB", Packet{Meta: AppendMeta(nil, MetaTracestate, "", make([]byte, maxMetaLen-3))}, nil, ""},
		{"metadata of 8 KiB + 1", Packet{Meta: make([]byte, maxMetaLen+1)}, ErrBadMeta, "8193 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := []byte("before")
			out, err := AppendPacket(dst, &c.p)
			if c.part == "" {
				if err != nil {
					t.Fatal(err)
				}
				if p, n, err := ParsePacket(out[len(dst):], maxMetaLen+2); err != nil || n != len(out)-len(dst) || p.Code != c.p.Code || !bytes.Equal(p.Meta, c.p.Meta) {
					t.Errorf("it comes back with %d bytes, error %v", n, err)
				}
				return
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.part)
			}
			if string(out) != "before" {
				t.Errorf("dst came back as %q", out)
			}
		})
	}
}

// TestAppendPacketFlags checks that neither the length bits nor FlagMeta of the Packet matter.
func TestAppendPacketFlags(t *testing.T) {
	for flag := range 256 {
		p := Packet{Flag: Flag(flag), Sequence: 7, Code: "x"}
		if b, err := AppendPacket(nil, &p); err != nil || b[0] != byte(flag)&^0x13 || len(b) != 6 {
			t.Fatalf("flag %#x is sent as %x, error %v", flag, b, err)
		}
		p.Meta = []byte{5, 0}
		if b, err := AppendPacket(nil, &p); err != nil || b[0] != byte(flag)&^0x03|0x10 || len(b) != 9 {
			t.Fatalf("flag %#x with metadata is sent as %x, error %v", flag, b, err)
		}
	}
}

// TestHeaderWidths checks the length field around every border, without the payloads.
func TestHeaderWidths(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		meta int
		want string
	}{
		{0, 0, "00 0102 6b 00 00"},
		{255, 0, "00 0102 6b 00 ff"},
		{256, 0, "01 0102 6b 00 0100"},
		{65535, 0, "01 0102 6b 00 ffff"},
		{65536, 0, "02 0102 6b 00 00010000"},
		{1<<32 - 1, 0, "02 0102 6b 00 ffffffff"},
		{1 << 32, 0, "03 0102 6b 00 0000000100000000"},
		{1<<62 + 5, 0, "03 0102 6b 00 4000000000000005"},
		{252, 2, "10 0102 6b 00 ff 02 5a*2"},
		{253, 2, "11 0102 6b 00 0100 02 5a*2"},
		{65536 - 130, 127, "11 0102 6b 00 fffe 7f 5a*127"},
		{65536 - 130, 128, "12 0102 6b 00 00010000 8001 5a*128"},
		{65536 - 131, 128, "11 0102 6b 00 ffff 8001 5a*128"},
		{1<<32 - 3, 2, "13 0102 6b 00 0000000100000000 02 5a*2"},
	} {
		if uint64(int(c.n)) != c.n {
			continue // an int doesn't hold it here
		}
		got := appendHeader(nil, 0, 0x0102, "k", bytes.Repeat([]byte{0x5a}, c.meta), int(c.n))
		if !bytes.Equal(got, runs(t, c.want)) {
			t.Errorf("%d bytes and %d of metadata: %x, want %s", c.n, c.meta, got, c.want)
		}
		h, n, err := parseHeader(got)
		total := c.n
		if c.meta > 0 {
			total += uint64(len(varintByHand(uint64(c.meta))) + c.meta)
		}
		if err != nil || h.length != total || h.seq != 0x0102 || string(h.code) != "k" || h.flag&flagLength != 0 || n > len(got) {
			t.Errorf("%d bytes: it parses as %+v, %d, %v", c.n, h, n, err)
		}
	}
}

// TestUvarintLen compares with the bytes that are written.
func TestUvarintLen(t *testing.T) {
	for shift := range 64 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			if got, want := uvarintLen(v), len(varintByHand(v)); got != want {
				t.Errorf("uvarintLen(%d) = %d, want %d", v, got, want)
			}
		}
	}
}

// TestParsePacketShares checks whose memory the parts of a packet are.
func TestParsePacketShares(t *testing.T) {
	data := runs(t, "50 0001 6162 00 05 02 0400 cafe 01")
	p, n, err := ParsePacket(data, 5)
	if err != nil || n != len(data)-1 {
		t.Fatal(n, err)
	}
	if &p.Payload[0] != &data[n-2] || &p.Meta[0] != &data[n-4] {
		t.Error("metadata and payload are copies")
	}
	if p.Meta = append(p.Meta, 0xee); data[n-2] != 0xca {
		t.Error("appending to the metadata overwrites the payload")
	}
	data[3] = 'X'
	if p.Code != "ab" {
		t.Error("the code is not a copy")
	}
}

// TestParsePayloadClipped checks that appending to a payload leaves alone what follows it.
func TestParsePayloadClipped(t *testing.T) {
	data := runs(t, "00 0001 61 00 02 cafe 99")
	p, _, err := ParsePacket(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _ = append(p.Payload, 0xee); data[len(data)-1] != 0x99 {
		t.Error("appending to the payload overwrites the next packet")
	}
}

// allocated returns how many bytes were allocated, by anyone, while f ran.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestParseAllocations holds parsing to no memory but the code's, whatever the header claims.
func TestParseAllocations(t *testing.T) {
	small := runs(t, "50 0001 2f752f67 00 05 02 0400 cafe")
	huge := runs(t, "43 0001 2f752f67 00 1000000000000000 00")
	long := runs(t, "40 0001 61*4097")
	var n int
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"parseHeader", 0, func() { _, n, _ = parseHeader(small) }},
		{"parseHeader of 2^60 bytes", 0, func() { _, n, _ = parseHeader(huge) }},
		{"parseHeader of a long code", 0, func() { _, n, _ = parseHeader(long) }},
		{"ParsePacket", 1, func() { _, n, _ = ParsePacket(small, 1<<62) }},
		{"ParsePacket of 2^60 bytes, allowed", 1, func() { _, n, _ = ParsePacket(huge, 1<<62) }},
		{"checkMeta", 0, func() { _ = checkMeta(small[len(small)-4 : len(small)-2]) }},
	} {
		if got := memorytest.AllocsPerRun(100, c.f); got > c.most {
			t.Errorf("%s: %v allocations, want %v at most", c.name, got, c.most)
		}
	}
	buf, meta := make([]byte, 0, 64), []byte{4, 0}
	if got := memorytest.AllocsPerRun(100, func() { buf = appendHeader(buf[:0], FlagWait, 7, "/u/g", meta, 1<<20) }); got != 0 {
		t.Errorf("appendHeader: %v allocations", got)
	}
	p := Packet{Flag: FlagWait, Code: "/u/g", Meta: meta, Payload: small}
	if got := memorytest.AllocsPerRun(100, func() { buf, _ = AppendPacket(buf[:0], &p) }); got != 0 {
		t.Errorf("AppendPacket: %v allocations", got)
	}
	// A refusal allocates its text, not what the header claims.
	if got := allocated(func() { _, n, _ = ParsePacket(huge, 4<<20) }); got > 4096 || n != len(huge)-1 {
		t.Errorf("refusing 2^60 bytes takes %d bytes; the header has %d", got, n)
	}
}
