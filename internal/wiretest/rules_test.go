package wiretest

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"strings"
	"testing"
)

// hexPacket reads a packet in the notation of the scenarios.
func hexPacket(t testing.TB, text string) *packet {
	t.Helper()
	b, err := plainBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newBooks returns books with small limits for the other end.
func newBooks(t testing.TB) *books {
	t.Helper()
	var b books
	for _, l := range []*limits{&b.own, &b.peer} {
		if err := json.Unmarshal([]byte(`{"frame": 100, "calls": 2, "window": 80, "messages": 40}`), l); err != nil {
			t.Fatal(err)
		}
	}
	b.begin()
	return &b
}

// TestBooks has the other end break each rule. What stands before > is sent by the runner.
func TestBooks(t *testing.T) {
	tests := []struct {
		name, want string
		packets    []string
	}{
		{"a long payload", "frame is 100", []string{"80 0001 00 65 00*101"}},
		{"a call with sequence 0", "sequence 0", []string{"40 0000 'a' 00 00"}},
		{"a sequence that is open", "which is open", []string{"40 0001 'a' 00 00", "40 0001 'a' 00 00"}},
		{"a piece for a sequence that is open", "which is open", []string{"40 0001 'a' 00 00", "60 0001 '+' 00 00"}},
		{"too many calls", "3 calls are open", []string{"40 0001 'a' 00 00", "60 0002 '+' 00 00", "60 0003 'a' 00 00"}},
		{"calls that end", "", []string{"40 0001 'a' 00 00", "> 80 0001 00 00", "40 0002 'a' 00 00", "40 0003 'a' 00 00"}},
		{"a request in pieces", "", []string{"60 0001 '+' 00 01 00", "60 0001 '+' 00 01 00", "40 0001 'a' 00 00"}},
		{"pieces beyond their credit", "takes 33 from an account that has 14", []string{"60 0001 '+' 00 01 00", "60 0001 '+' 00 01 00", "60 0001 '+' 00 01 00"}},
		{"items beyond their credit", "takes 33", []string{"> 40 0001 'a' 00 00", "a0 0001 00 01 31", "a0 0001 00 01 31", "a0 0001 00 01 31"}},
		{"items with more credit", "", []string{"> 40 0001 'a' 00 00", "a0 0001 00 01 31", "a0 0001 00 01 31", "> 20 0001 'w' 00 01 21", "a0 0001 00 01 31"}},
		{"items of no call", "", []string{"a0 0001 00 01 31", "a0 0001 00 01 31", "a0 0001 00 01 31"}},
		{"messages beyond their credit", "takes 32", []string{"00 0000 'a' 00 00", "00 0000 'a' 00 00"}},
		{"messages with more credit", "", []string{"00 0000 'a' 00 00", "> 20 0000 'w' 00 01 20", "00 0000 'a' 00 00"}},
		{"reserved messages", "", []string{"00 0000 'fly.x' 00 00", "00 0000 'fly.x' 00 00", "00 0000 'fly.x' 00 00"}},
		{"a message with the sequence of a call", "which is open", []string{"40 0001 'a' 00 00", "00 0001 'a' 00 00", "40 0001 'a' 00 00"}},
		{"a message in pieces", "", []string{"60 0001 '+' 00 01 00", "00 0001 'a' 00 00", "40 0002 'a' 00 00", "> 80 0002 00 00", "40 0001 'a' 00 00"}},
		{"a message in pieces whose sequence is used at once", "no request behind it", []string{"60 0001 '+' 00 01 00", "00 0001 'a' 00 00", "40 0001 'a' 00 00"}},
		{"a message in pieces whose sequence is used behind an earlier call", "no request behind it", []string{"40 0002 'a' 00 00", "60 0001 '+' 00 01 00", "00 0001 'a' 00 00", "> 80 0002 00 00", "60 0001 '+' 00 01 00"}},
		{"a message in pieces that is given up", "", []string{"60 0001 '+' 00 01 00", "> 80 0001 'CANCELED' 00 00", "40 0001 'a' 00 00"}},
		{"credit for what wasn't sent", "1 were granted", []string{"> 60 0001 'a' 00 00", "a0 0001 'w' 00 01 01"}},
		{"credit for messages that weren't sent", "33 were granted", []string{"> 00 0000 'a' 00 00", "20 0000 'w' 00 01 21"}},
		{"credit for what was sent", "", []string{"> 60 0001 'a' 00 00", "> 20 0001 00 01 31", "a0 0001 'w' 00 01 21", "a0 0009 'w' 00 01 21"}},
		{"credit for messages, of a call", "STREAM alone", []string{"a0 0000 'w' 00 01 01"}},
		{"credit that is no number", "no uvarint", []string{"20 0001 'w' 00 01 80"}},
		{"frames that cost nothing", "", []string{"20 0001 'e' 00 00", "20 0001 'c' 00 00", "80 0001 'NO' 00 00"}},
	}
	for _, tt := range tests {
		b := newBooks(t)
		var err error
		for _, text := range tt.packets {
			own, sent := strings.CutPrefix(text, "> ")
			p := hexPacket(t, own)
			if kind := kindOf(p, isReserved(p)); sent {
				b.sent(p, kind)
			} else if err == nil {
				err = b.came(p, kind)
			}
		}
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: the error is %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestCodes(t *testing.T) {
	tests := []struct{ packets, want string }{
		{"40 0001 0102 '/a' 00 00 | 40 0001 0102 00 00", "/a /a"},
		{"40 0001 0102 '/a' 00 00 | 00 0000 0102 '/b' 00 00 | 60 0001 0102 00 00", "/a /b /b"},
		{"80 0001 0102 00 00 | 20 0001 0102 00 00 | 48 0001 0102 00 00", "\x01\x02 \x01\x02 \x01\x02"},
		{"40 0001 0102 00 00", "error"},
		{"40 0001 01 00 00", "error"},
		{"40 0001 0101 '/a' 00 00", "error"},
		{"40 0001 0104 '/a' 00 00", "error"},
		{"40 0001 0102 01 '/a' 00 00", "error"},
		{"00 0000 0102 61*4000 00 00", strings.Repeat("a", 4000)},
	}
	for _, tt := range tests {
		var c codes
		var got []string
		for _, text := range strings.Split(tt.packets, " | ") {
			path, err := c.resolve(hexPacket(t, text), 2)
			if err != nil {
				path = []byte("error")
			}
			got = append(got, string(path))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s stand for %q, want %q", tt.packets, got, tt.want)
		}
	}
}

func TestInflated(t *testing.T) {
	p, err := inflated(hexPacket(t, "94 0001 00 0a 020400 01 0200 fdff 'hi'"))
	if err != nil || p.flag != flagResponse|flagMeta || string(p.payload) != "\x02\x04\x00hi" {
		t.Errorf("%v, %v", p, err)
	}
	if same := hexPacket(t, "80 0001 00 00"); same != nil {
		if p, err := inflated(same); p != same || err != nil {
			t.Errorf("%v, %v", p, err)
		}
	}
	for _, text := range []string{"84 0001 00 01 ff", "94 0001 00 01 05"} {
		if p, err := inflated(hexPacket(t, text)); err == nil {
			t.Errorf("%s is inflated to %v", text, p)
		}
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
	_ = w.Close()
	large := packet{flag: flagResponse | flagZipPayload, payload: b.Bytes()}
	if p, err := inflated(&large); err != nil || len(p.payload) != 1000 {
		t.Errorf("%v, %v", p, err)
	}
}

func TestLimits(t *testing.T) {
	for _, text := range []string{`[]`, `{"window": -1}`, `{"codes": "many"}`} {
		if l, err := parseLimits([]byte(text)); err == nil {
			t.Errorf("%s gives %+v", text, l)
		}
	}
	if l, err := parseLimits([]byte(`{"codes": 0, "frame": 0}`)); err != nil || l.get("codes") != 0 || l.get("frame") != 64<<10 || l.get("message") != 4<<20 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestAlike(t *testing.T) {
	want := `{"error":"\u003ctext\u003e","n":1}`
	for text, same := range map[string]bool{
		`{"n": 1, "error": "anything"}`:   true,
		`{"n": 1, "error": ""}`:           false,
		`{"n": 1, "error": 7}`:            false,
		`{"n": 2, "error": "anything"}`:   false,
		`{"n": 1.0, "error": "anything"}`: false,
		`["anything"]`:                    false,
		`{"n": 1, "error": "a"} 2`:        false,
		`{`:                               false,
	} {
		got, err := alike([]byte(text), []byte(want))
		if (err == nil && string(got) == want) != same {
			t.Errorf("%s becomes %s, %v", text, got, err)
		}
	}
}
