package flyrpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func ExampleParseMeta() {
	block := AppendMeta(nil, MetaKey, "tenant", "acme")
	block = AppendMeta(block, MetaTimeout, "", binary.AppendUvarint(nil, 1_000_000))
	block = AppendMeta(block, MetaSerializer, "", "t")
	for e, err := range ParseMeta(block) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("id %d, key %q, value %q\n", e.ID, e.Key, e.Value)
	}
	// Output:
	// id 0, key "tenant", value "acme"
	// id 1, key "", value "\xc0\x84="
	// id 4, key "", value "t"
}

// TestMetaErrors checks each way in which a block can be malformed, the entries that come
// before, and that the reason names the entry.
func TestMetaErrors(t *testing.T) {
	for _, c := range []struct {
		name, block string
		entries     int
		reason      string
	}{
		{"id cut", "85", 0, "entry 0 has no id"},
		{"id of 11 bytes", "ff*10 01 00", 0, "entry 0 has no id"},
		{"second id cut", "0500 85", 1, "entry 1 has no id"},
		{"no value", "05", 0, "the value of entry 0 is cut"},
		{"value length cut", "05 80", 0, "the value of entry 0 is cut"},
		{"value short of a byte", "05 02 61", 0, "the value of entry 0 is cut"},
		{"value of 2^64-1 bytes", "05 ff*9 01", 0, "the value of entry 0 is cut"},
		{"value length of 11 bytes", "05 ff*10 01", 0, "the value of entry 0 is cut"},
		{"no key", "0500 00", 1, "the key of entry 1 is cut"},
		{"key short of a byte", "00 02 61", 0, "the key of entry 0 is cut"},
		{"key of 2^63 bytes", "00 80*9 01", 0, "the key of entry 0 is cut"},
		{"key without a value", "00 01 61", 0, "the value of entry 0 is cut"},
		{"65 entries", "0500*65", 64, "more than 64 entries"},
		{"65th entry cut", "0500*64 05", 64, "more than 64 entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			block := runs(t, c.block)
			n := 0
			var failure error
			for e, err := range ParseMeta(block) {
				if err == nil {
					n++
				} else if failure = err; e.ID != 0 || e.Key != nil || e.Value != nil {
					t.Errorf("the error comes with entry %+v", e)
				}
			}
			if n != c.entries || !errors.Is(failure, ErrBadMeta) || !strings.Contains(failure.Error(), c.reason) {
				t.Errorf("%d entries and error %v, want %d and %q", n, failure, c.entries, c.reason)
			}
			if err := checkMeta(block); err == nil || err.Error() != failure.Error() {
				t.Errorf("checkMeta: %v, want %v", err, failure)
			}
		})
	}
}

func TestMetaBlockLimits(t *testing.T) {
	if err := checkMeta(bytes.Repeat([]byte{5, 0}, maxMetaEntries)); err != nil {
		t.Errorf("64 entries: %v", err)
	}
	if err := checkMeta(nil); err != nil {
		t.Errorf("no entries: %v", err)
	}
	for range ParseMeta(nil) {
		t.Error("an empty block yields something")
	}
	n := 0
	for range ParseMeta(bytes.Repeat([]byte{5, 0}, 10)) {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d entries came, want those before break", n)
	}
}

// TestAppendMetaBytes compares with entries written by hand.
func TestAppendMetaBytes(t *testing.T) {
	for _, c := range []struct {
		id         MetaID
		key, value string
		want       string
	}{
		{MetaKey, "", "", "00 00 00"},
		{MetaKey, "k", "v", "00 01 6b 01 76"},
		{MetaTimeout, "ignored", "\x0a", "01 01 0a"},
		{MetaIdempotent, "", "", "05 00"},
		{MetaKey, strings.Repeat("k", 128), "v", "00 8001 6b*128 01 76"},
		{MetaTracestate, "", strings.Repeat("v", 300), "03 ac02 76*300"},
		{300, "ignored", "v", "ac02 01 76"},
		{1<<64 - 1, "", "v", "ff*9 01 01 76"},
	} {
		want := append([]byte("x"), runs(t, c.want)...)
		if got := AppendMeta([]byte("x"), c.id, c.key, c.value); !bytes.Equal(got, want) {
			t.Errorf("id %d of text: %x, want %x", c.id, got, want)
		}
		if got := AppendMeta([]byte("x"), c.id, c.key, []byte(c.value)); !bytes.Equal(got, want) {
			t.Errorf("id %d of bytes: %x, want %x", c.id, got, want)
		}
	}
}

// TestMetaShares checks that entries are views of the block that can't grow into it.
func TestMetaShares(t *testing.T) {
	block := runs(t, "00 01 6b 01 76 05 00")
	for e, err := range ParseMeta(block) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == MetaKey && (&e.Key[0] != &block[2] || &e.Value[0] != &block[4]) {
			t.Error("key or value is a copy")
		}
		_ = append(e.Key, 0xee)
		_ = append(e.Value, 0xee)
	}
	if !bytes.Equal(block, runs(t, "00 01 6b 01 76 05 00")) {
		t.Errorf("appending to an entry changed the block: %x", block)
	}
}

func TestUserMeta(t *testing.T) {
	block := AppendMeta(nil, MetaKey, "a", "1")
	block = AppendMeta(block, MetaTracestate, "", "a=2")
	block = AppendMeta(block, MetaKey, "b", "\x00\xff")
	block = AppendMeta(block, MetaKey, "a", "3")
	m := userMeta(block)
	if want := (Metadata{"a": "3", "b": "\x00\xff"}); !maps.Equal(m, want) {
		t.Errorf("%v, want %v", m, want)
	}
	clear(block)
	if m.Get("a") != "3" || m.Get("c") != "" {
		t.Error("the values share the block's memory")
	}
	if m := userMeta(nil); m == nil || len(m) != 0 {
		t.Errorf("of nothing: %#v, want an empty map", m)
	}
}

// TestAddUserMeta fills a block to both of its limits; what is refused leaves it alone, and what
// FlyRPC itself sends still fits.
func TestAddUserMeta(t *testing.T) {
	var block []byte
	var err error
	for i := range maxMetaEntries - metaReserveEntries {
		if block, err = addUserMeta(block, fmt.Sprint(i), "v"); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	refused, err := addUserMeta(block, "one more", "v")
	wantErr(t, err, TooLong, NotSent)
	if !bytes.Equal(refused, block) {
		t.Error("what was refused changed the block")
	}
	for range metaReserveEntries {
		block = AppendMeta(block, MetaTimeout, "", make([]byte, 10))
	}
	if err := checkMeta(block); err != nil {
		t.Errorf("with FlyRPC's own entries: %v", err)
	}
	const room = maxMetaLen - metaReserveBytes - 5
	if block, err = addUserMeta(nil, "key", strings.Repeat("v", room-3)); err != nil || len(block) > maxMetaLen-metaReserveBytes {
		t.Errorf("the longest value: %d bytes, %v", len(block), err)
	}
	_, err = addUserMeta(nil, "key", strings.Repeat("v", room-2))
	wantErr(t, err, TooLong, NotSent)
}
