package flyrpc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// golden is one packet of testdata/wire/packets.json; the README beside it explains the fields.
type golden struct {
	Name       string
	Section    string
	Hex        string
	Flag       string
	Sequence   uint16
	Code       string
	Meta       []goldenMeta
	PayloadHex string
	Canonical  *bool
	Limit      *uint64
	Error      string
}

type goldenMeta struct {
	ID       uint64
	Key      string
	ValueHex string
}

// goldenErrors are the errors by their names in the file.
var goldenErrors = map[string]error{
	"": nil, "short": ErrShortPacket, "longCode": ErrLongCode, "longPayload": ErrLongPayload, "badMeta": ErrBadMeta,
}

// goldens returns the golden packets.
func goldens(t testing.TB) []golden {
	t.Helper()
	data, err := os.ReadFile("testdata/wire/packets.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []golden
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

// runs expands the file's notation for bytes.
func runs(t testing.TB, text string) []byte {
	t.Helper()
	out := []byte{}
	for _, word := range strings.Fields(text) {
		digits, times, _ := strings.Cut(word, "*")
		b, err := hex.DecodeString(digits)
		n := 1
		if err == nil && times != "" {
			n, err = strconv.Atoi(times)
		}
		if err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		out = append(out, bytes.Repeat(b, n)...)
	}
	return out
}

func (g *golden) limit() uint64 {
	if g.Limit != nil {
		return *g.Limit
	}
	return 4 << 20
}

func (g *golden) canonical() bool { return g.Error == "" && (g.Canonical == nil || *g.Canonical) }

// packet returns the fields as a Packet, with metadata written by hand.
func (g *golden) packet(t testing.TB) Packet {
	t.Helper()
	flag, err := strconv.ParseUint(g.Flag, 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	p := Packet{Flag: Flag(flag), Sequence: g.Sequence, Code: g.Code, Payload: runs(t, g.PayloadHex)}
	for _, m := range g.Meta {
		p.Meta = append(p.Meta, varintByHand(m.ID)...)
		if m.ID == 0 {
			p.Meta = append(append(p.Meta, varintByHand(uint64(len(m.Key)))...), m.Key...)
		}
		value := runs(t, m.ValueHex)
		p.Meta = append(append(p.Meta, varintByHand(uint64(len(value)))...), value...)
	}
	return p
}

// varintByHand is a uvarint, seven bits at a time from the lowest.
func varintByHand(v uint64) []byte {
	if v < 128 {
		return []byte{byte(v)}
	}
	return append([]byte{byte(v%128 + 128)}, varintByHand(v/128)...)
}

func TestGoldens(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range goldens(t) {
		t.Run(g.Name, func(t *testing.T) {
			if seen[g.Name] {
				t.Error("the name is not unique")
			}
			seen[g.Name] = true
			want, ok := goldenErrors[g.Error]
			if !ok {
				t.Fatalf("unknown error %q", g.Error)
			}
			data := runs(t, g.Hex)
			if want != nil {
				checkRefused(t, &g, data, want)
				return
			}
			// What stands behind it must not matter.
			p, n, err := ParsePacket(append(bytes.Clone(data), 0xff, 0, 0x80), g.limit())
			if err != nil || n != len(data) {
				t.Fatalf("%d of %d bytes, error %v", n, len(data), err)
			}
			if diff := samePacket(p, g.packet(t)); diff != "" {
				t.Error(diff)
			}
			checkEncoding(t, &g, data)
		})
	}
	if len(seen) < 60 {
		t.Errorf("%d goldens, want 60 at least", len(seen))
	}
}

// checkRefused checks the outcome of a malformed golden.
func checkRefused(t *testing.T, g *golden, data []byte, want error) {
	p, n, err := ParsePacket(data, g.limit())
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	if want == ErrShortPacket || want == ErrLongCode {
		if n != 0 || samePacket(p, Packet{}) != "" {
			t.Errorf("the packet is %+v of %d bytes, want none", p, n)
		}
		return
	}
	if n != len(data) {
		t.Errorf("n is %d, want %d", n, len(data))
	}
	want2 := g.packet(t)
	p.Meta, p.Payload = nil, nil
	if diff := samePacket(p, want2); diff != "" {
		t.Error(diff)
	}
}

// checkEncoding checks what the fields of a golden are encoded to.
func checkEncoding(t *testing.T, g *golden, data []byte) {
	p := g.packet(t)
	got, err := AppendPacket([]byte("before"), &p)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := bytes.CutPrefix(got, []byte("before"))
	switch {
	case !ok:
		t.Error("what stood before the packet was changed")
	case g.canonical() && !bytes.Equal(got, data):
		t.Errorf("encoded as %.60x\nwant        %.60x", got, data)
	case !g.canonical() && len(got) >= len(data):
		t.Errorf("encoded in %d bytes, no less than the %d that aren't canonical", len(got), len(data))
	}
}

// TestGoldensTruncated cuts every golden at every byte: where a packet is not
// complete yet, nothing else may be said.
func TestGoldensTruncated(t *testing.T) {
	for _, g := range goldens(t) {
		if g.Error == "longPayload" || g.Error == "longCode" {
			continue // refused before it is complete; see below
		}
		data := runs(t, g.Hex)
		for n := range data {
			if n > 300 && n < len(data)-300 && n%997 != 0 {
				continue
			}
			p, used, err := ParsePacket(data[:n:n], g.limit())
			if err != ErrShortPacket || used != 0 || samePacket(p, Packet{}) != "" {
				t.Fatalf("%s: the first %d of %d bytes give %+v, %d, %v", g.Name, n, len(data), p, used, err)
			}
		}
	}
}

// TestRefusedAtOnce finds the byte at which a packet over a limit is refused: the
// last one of the header, or of the longest code.
func TestRefusedAtOnce(t *testing.T) {
	for _, g := range goldens(t) {
		at := 0
		switch g.Error {
		case "longPayload":
			at = len(runs(t, g.Hex))
		case "longCode":
			at = 3 + maxCodeLen + 1
		default:
			continue
		}
		data := runs(t, g.Hex)
		if _, _, err := ParsePacket(data[:at-1], g.limit()); err != ErrShortPacket {
			t.Errorf("%s: one byte before: %v", g.Name, err)
		}
		if _, _, err := ParsePacket(data[:at], g.limit()); !errors.Is(err, goldenErrors[g.Error]) {
			t.Errorf("%s: with byte %d: %v", g.Name, at, err)
		}
	}
}

// TestGoldensMutated changes single bytes of the goldens. What is decoded then
// has to differ from the fields.
func TestGoldensMutated(t *testing.T) {
	for _, g := range goldens(t) {
		if !g.canonical() {
			continue
		}
		data, want := runs(t, g.Hex), g.packet(t)
		for i := range data {
			if i > 64 && i < len(data)-64 && i%1009 != 0 {
				continue
			}
			for _, x := range []byte{0x01, 0x02, 0x10, 0x80, 0xff} {
				data[i] ^= x
				p, n, err := ParsePacket(data, g.limit())
				if err == nil && n == len(data) && samePacket(p, want) == "" {
					t.Fatalf("%s: byte %d changed by %#x is not noticed", g.Name, i, x)
				}
				data[i] ^= x
			}
		}
	}
}
