package wiretest

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// bodyKind says how the body of a packet is compared.
type bodyKind uint8

const (
	exactBody   bodyKind = iota
	jsonBody             // as JSON values
	messageBody          // any text for people will do
	fieldBody            // a field of hello: its name is the code
)

// want is what is expected of a packet.
type want struct {
	flag byte
	name string // of the sequence; empty for seq
	seq  uint16
	code []byte
	meta []byte // the block with the length before it
	body []byte
	kind bodyKind

	anyCode, anyMeta bool
}

// want makes what is expected of the spec.
func (s *spec) want() (w want, err error) {
	if s.Bytes != "" {
		return wantBytes(s.Bytes)
	}
	if s.Times != "" || s.Length != "" || s.Each {
		return w, errors.New("times, length and each are for packets that are sent")
	}
	p, name, err := s.head()
	if err != nil {
		return w, err
	}
	w = want{flag: p.flag, name: name, seq: p.seq, code: p.code, meta: s.block(), anyCode: s.AnyCode, anyMeta: s.AnyMeta}
	w.body, err = s.body(new(limits))
	switch {
	case err != nil:
		return w, err
	case s.Message:
		w.kind = messageBody
	case s.JSON != nil:
		w.kind = jsonBody
		w.body, err = canonical(w.body)
	}
	return w, err
}

// wantBytes is what a text of bytes says of a packet: all of it.
func wantBytes(text string) (want, error) {
	t, err := parseBytes(text)
	if err != nil {
		return want{}, err
	}
	if t.name != "" && t.at != 1 {
		return want{}, fmt.Errorf("%q: the sequence stands at byte 1", text)
	}
	p, err := parsePacket(t.bytes)
	if err != nil {
		return want{}, err
	}
	w := want{flag: p.flag, name: t.name, seq: p.seq, code: p.code}
	w.meta, w.body, err = splitMeta(p.flag, p.payload)
	return w, err
}

// packet returns a packet that is what is expected, as far as that is known.
func (w *want) packet() *packet {
	return &packet{flag: w.flag, seq: w.seq, code: w.code, payload: append(bytes.Clone(w.meta), w.body...)}
}

// String describes what is expected.
func (w *want) String() string {
	text := w.packet().String()
	if w.kind == messageBody {
		text += " (and any text as body)"
	}
	if w.anyCode {
		text += " (and any code)"
	}
	if w.name != "" {
		text += fmt.Sprintf(" (with the sequence %q)", w.name)
	}
	return text
}

// matches says in what a packet, whose code stands for code, isn't what is expected. It doesn't look at sequences
// with names.
func (w *want) matches(p *packet, code []byte) error {
	switch {
	case (p.flag^w.flag)&^w.ignored() != 0:
		return fmt.Errorf("the flags are %s, not %s", flagNames(p.flag), flagNames(w.flag))
	case w.name == "" && p.seq != w.seq:
		return fmt.Errorf("the sequence is %d, not %d", p.seq, w.seq)
	case w.anyCode && len(code) == 0:
		return errors.New("the code is empty")
	case !w.anyCode && !bytes.Equal(code, w.code):
		return fmt.Errorf("the code is %q, not %q", code, w.code)
	}
	meta, body, err := splitMeta(p.flag, p.payload)
	switch {
	case err != nil:
		return err
	case !w.anyMeta && !bytes.Equal(meta, w.meta):
		return fmt.Errorf("the metadata is %s, not %s", shortHex(meta), shortHex(w.meta))
	}
	return w.matchesBody(body)
}

// ignored returns the bits of the flag that don't matter.
func (w *want) ignored() byte {
	if w.anyMeta {
		return flagMeta
	}
	return 0
}

// matchesBody compares the body.
func (w *want) matchesBody(body []byte) error {
	switch w.kind {
	case messageBody:
		if len(body) == 0 || !utf8.Valid(body) {
			return fmt.Errorf("the body %s is no text for people", shortText(body))
		}
		return nil
	case jsonBody, fieldBody:
		same, err := alike(body, w.body)
		if err != nil {
			return fmt.Errorf("the body %s is no JSON: %w", shortText(body), err)
		}
		body = same
	}
	if bytes.Equal(body, w.body) {
		return nil
	}
	at := 0
	for at < min(len(body), len(w.body)) && body[at] == w.body[at] {
		at++
	}
	return fmt.Errorf("the body has %d bytes, not %d, or differs from byte %d on: %s",
		len(body), len(w.body), at, shortHex(body[at:]))
}

// head returns how many bytes are expected before the code.
func (w *want) head() int {
	switch {
	case w.kind == fieldBody:
		return 0
	case w.name != "":
		return 1
	}
	return 3
}

// size returns how many bytes of w are expected.
func (w *want) size() int {
	return w.head() + len(w.code) + len(w.meta) + len(w.body)
}

// flipped returns w with one bit of expected byte i turned over.
func (w *want) flipped(i int) want {
	f := *w
	if i < w.head() {
		if i == 0 {
			f.flag ^= flagWait
		} else {
			f.seq ^= 1 << (8 * (i - 1))
		}
		return f
	}
	i -= w.head()
	for _, part := range []*[]byte{&f.code, &f.meta, &f.body} {
		if i < len(*part) {
			*part = bytes.Clone(*part)
			(*part)[i] ^= 1
			return f
		}
		i -= len(*part)
	}
	return f
}
