package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// Whatever a client does against the rules ends the connection, and the server says why.
func TestBrokenFrames(t *testing.T) {
	long := appendHead(nil, opBinary, 1<<30, true, [4]byte{})
	unmasked := appendHead(nil, opBinary, 1, false, [4]byte{})
	for name, c := range map[string]struct {
		sent []byte
		code int
		text string
	}{
		"compressed":           {frame(0xC2, "x"), CloseProtocol, "extension, such as compression"},
		"reserved bits":        {frame(0xB2, "x"), CloseProtocol, "extension"},
		"unknown kind":         {frame(0x83, "x"), CloseProtocol, "kind 0x3"},
		"unknown control":      {frame(0x8B, "x"), CloseProtocol, "kind 0xb"},
		"no mask":              {append(unmasked, 'x'), CloseProtocol, "masked"},
		"no shortest length":   {[]byte{0x82, 0x80 | 126, 0, 5, 0, 0, 0, 0}, CloseProtocol, "shortest"},
		"no shortest length 8": {[]byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0}, CloseProtocol, "shortest"},
		"negative length":      {[]byte{0x82, 0x80 | 127, 255, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0}, CloseProtocol, "length"},
		"fragmented ping":      {frame(0x09, "x"), CloseProtocol, "control frame"},
		"long ping":            {frame(0x89, strings.Repeat("x", 126)), CloseProtocol, "control frame of 126"},
		"continues nothing":    {frame(0x80, "x"), CloseProtocol, "goes on with a message"},
		"begins within":        {append(frame(0x02, "x"), frame(0x82, "x")...), CloseProtocol, "within another"},
		"half a close code":    {frame(0x88, "x"), CloseProtocol, "half a code"},
		"close code 1005":      {frame(0x88, "\x03\xed"), CloseProtocol, "1005"},
		"close code 999":       {frame(0x88, "\x03\xe7"), CloseProtocol, "999"},
		"close reason":         {frame(0x88, "\x03\xe8\xff"), CloseBadText, "UTF-8"},
		"too long":             {long, CloseTooLong, "1073741824 bytes or more"},
		"too long in all":      {append(frame(0x02, "x"), appendHead(nil, 0, DefaultReadLimit, true, [4]byte{})...), CloseTooLong, "at most 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, s := peer(t)
			written := inBackground(func() error { _, err := nc.Write(c.sent); return err })
			var err error
			for err == nil {
				_, err = s.Read(make([]byte, 100))
			}
			var e *CloseError
			if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Read: %v", err)
			}
			if _, again := s.Read(make([]byte, 1)); again != err {
				t.Errorf("a second Read: %v", again)
			}
			s.SetClose(CloseGoingAway, "this comes too late")
			go s.Close()
			first, said := readFrame(t, nc)
			if first != 0x88 || binary.BigEndian.Uint16([]byte(said)) != uint16(c.code) || !strings.Contains(said, c.text) {
				t.Errorf("the server closed with %#x %q", first, said)
			}
			<-written
		})
	}
}

// A connection that just ends isn't closed in order.
func TestEndWithoutClose(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		text string
	}{
		"at once":                 {nil, "without a close frame"},
		"in a header":             {[]byte{0x82}, "within a message"},
		"in a message":            {frame(0x82, "four")[:7], "within a message"},
		"between fragments":       {frame(0x02, "x"), "within a message"},
		"closed amid the message": {append(frame(0x02, "x"), frame(0x88, "")...), "within a message"},
		"behind a message":        {frame(0x82, "x"), "without a close frame"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, s := peer(t)
			mustWrite(t, nc, c.sent)
			nc.Close()
			_, err := io.ReadAll(s)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Read: %v", err)
			}
		})
	}
}

func TestXor(t *testing.T) {
	mask := [4]byte{1, 20, 140, 255}
	for size := range 40 {
		for pos := range 5 {
			b, want := random(size), random(size)
			for i := range want {
				want[i] ^= mask[(pos+i)%4]
			}
			if xor(b, mask, pos); !bytes.Equal(b, want) {
				t.Fatalf("%d bytes from %d: %x, want %x", size, pos, b, want)
			}
		}
	}
}

func TestLongReason(t *testing.T) {
	b := appendClose(nil, 4000, strings.Repeat("ä", 100))
	e, err := parseClose(b)
	if err != nil || len(b) > maxControl || e.Reason != strings.Repeat("ä", 61) {
		t.Errorf("%d bytes, %v, %v", len(b), e, err)
	}
}

// parsed is what a decoder made of bytes.
type parsed struct {
	binary  []byte
	events  []event
	control []string
	err     string
}

// decodeIn decodes b cut into parts of n bytes.
func decodeIn(b []byte, n int, limit uint64) parsed {
	d := decoder{masked: true, limit: limit, textLimit: limit}
	var p parsed
	for len(b) > 0 {
		rest := bytes.Clone(b[:min(n, len(b))])
		b = b[len(rest):]
		for len(rest) > 0 || !d.waits() {
			var payload []byte
			var ev event
			var err error
			payload, rest, ev, err = d.next(rest)
			if p.binary = append(p.binary, payload...); ev != nothing {
				p.events = append(p.events, ev)
			}
			if ev == controlled {
				p.control = append(p.control, string(d.control))
			}
			if err != nil {
				p.err = err.Error()
				return p
			}
		}
	}
	return p
}

// However the bytes come, they mean the same, and what is accepted stays within the limit.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, 1)
	f.Add(append(frame(0x02, "hello"), append(frame(0x89, "ping"), frame(0x80, "world")...)...), 3)
	f.Add(frame(0x82, strings.Repeat("x", 300)), 7)
	f.Add(append(frame(0x81, ""), frame(0x88, "\x03\xe8bye")...), 2)
	f.Add(frame(0xC2, "x"), 1)
	f.Add(appendHead(nil, opBinary, 1<<40, true, [4]byte{1}), 5)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		const limit = 1000
		n = max(1, min(n, len(b)))
		whole, cut := decodeIn(b, max(1, len(b)), limit), decodeIn(b, n, limit)
		if !bytes.Equal(whole.binary, cut.binary) || whole.err != cut.err || len(whole.events) != len(cut.events) || len(whole.control) != len(cut.control) {
			t.Fatalf("as a whole: %+v; in parts of %d: %+v", whole, n, cut)
		}
		for i, c := range whole.control {
			if c != cut.control[i] || len(c) > maxControl {
				t.Fatalf("control frame %d: %q and %q", i, c, cut.control[i])
			}
		}
		messages, size := 0, len(whole.binary)
		for _, ev := range whole.events {
			if ev == begun {
				messages++
			}
		}
		if size > messages*limit {
			t.Fatalf("%d messages of at most %d bytes had %d", messages, limit, size)
		}
	})
}
