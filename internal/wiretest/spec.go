package wiretest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// spec is a packet as a scenario writes it: a text of bytes, or an object.
type spec struct {
	Bytes string `json:"-"`

	Flag string          `json:"flag"` // names of bits
	Seq  json.RawMessage `json:"seq"`  // a number, or the name of one that came
	Code string          `json:"code"`
	Meta []metaSpec      `json:"meta"`

	Hex  *string         `json:"hex"`
	Text *string         `json:"text"`
	JSON json.RawMessage `json:"json"`
	Fill string          `json:"fill"` // with size: these bytes again and again
	Size flexible        `json:"size"`

	Length  flexible `json:"length"`  // sent: what the length field says
	Times   flexible `json:"times"`   // sent: so many of them
	Each    bool     `json:"each"`    // sent: with one sequence after the other
	Message bool     `json:"message"` // expected: the body is any text for people
	AnyCode bool     `json:"anyCode"` // expected: the code is anything but empty
	AnyMeta bool     `json:"anyMeta"` // expected: metadata doesn't matter
}

// flexible is a number, or a text that parseSize reads.
type flexible string

// UnmarshalJSON takes numbers and texts.
func (f *flexible) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, (*string)(f))
	}
	*f = flexible(b)
	return nil
}

// UnmarshalJSON takes both forms.
func (s *spec) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, &s.Bytes)
	}
	type object spec
	return strictly(b, (*object)(s))
}

// strictly decodes JSON without unknown fields.
func strictly(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// metaSpec is an entry of metadata as bytes: a well-known one by its name, or an object.
type metaSpec struct{ entry []byte }

// UnmarshalJSON takes both forms.
func (m *metaSpec) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		var name string
		if err := json.Unmarshal(b, &name); err != nil {
			return err
		}
		return m.named(name)
	}
	var o struct {
		ID    uint64
		Key   string
		Value string
	}
	if err := strictly(b, &o); err != nil {
		return err
	}
	value, err := plainBytes(o.Value)
	if err != nil {
		return err
	}
	m.entry = binary.AppendUvarint(nil, o.ID)
	if o.ID == 0 {
		m.entry = append(binary.AppendUvarint(m.entry, uint64(len(o.Key))), o.Key...)
	}
	m.entry = append(binary.AppendUvarint(m.entry, uint64(len(value))), value...)
	return nil
}

// named sets an entry by its name.
func (m *metaSpec) named(name string) error {
	switch name {
	case "bytes":
		m.entry = []byte{4, 0}
	case "text":
		m.entry = []byte{4, 1, 't'}
	case "idempotent":
		m.entry = []byte{5, 0}
	case "unprocessed":
		m.entry = []byte{6, 0}
	default:
		return fmt.Errorf("%q is no entry of metadata", name)
	}
	return nil
}

// flagBits reads the names of bits.
func flagBits(text string) (byte, error) {
	var flag byte
	for _, word := range strings.Fields(text) {
		found := false
		for i, name := range []string{"RESPONSE", "WAIT", "STREAM", "META", "ZIPCODE", "ZIPPAYLOAD"} {
			if word == name {
				flag, found = flag|flagResponse>>i, true
			}
		}
		if !found {
			return 0, fmt.Errorf("%q is no bit of a flag", word)
		}
	}
	return flag, nil
}

// head returns what stands before the payload. name is that of the sequence, if it has one.
func (s *spec) head() (p packet, name string, err error) {
	if p.flag, err = flagBits(s.Flag); err != nil {
		return p, "", err
	}
	if s.Meta != nil {
		p.flag |= flagMeta
	}
	switch {
	case len(s.Seq) == 0:
	case s.Seq[0] == '"':
		err = json.Unmarshal(s.Seq, &name)
	default:
		err = json.Unmarshal(s.Seq, &p.seq)
	}
	if strings.IndexByte(s.Code, 0) >= 0 {
		err = errors.Join(err, fmt.Errorf("the code %q has a zero byte", s.Code))
	}
	p.code = []byte(s.Code)
	return p, name, err
}

// block returns the metadata block with its length before it, or nil if there is none.
func (s *spec) block() []byte {
	if s.Meta == nil {
		return nil
	}
	var entries []byte
	for _, m := range s.Meta {
		entries = append(entries, m.entry...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(entries))), entries...)
}

// body returns the body, for a packet to an end with limits l.
func (s *spec) body(l *limits) ([]byte, error) {
	n := 0
	for _, has := range []bool{s.Hex != nil, s.Text != nil, s.JSON != nil, s.Fill != "", s.Message} {
		if has {
			n++
		}
	}
	switch {
	case n > 1:
		return nil, errors.New("hex, text, json, fill and message exclude each other")
	case s.Hex != nil:
		return plainBytes(*s.Hex)
	case s.Text != nil:
		return []byte(*s.Text), nil
	case s.JSON != nil:
		return compact(s.JSON)
	case s.Fill != "":
		return s.filled(l)
	}
	return nil, nil
}

// filled returns a body of a size.
func (s *spec) filled(l *limits) ([]byte, error) {
	unit, err := plainBytes(s.Fill)
	if err != nil {
		return nil, err
	}
	n, err := parseSize(string(s.Size))
	if err != nil {
		return nil, err
	}
	length := n.of(l)
	if length < 0 || length > maxPayload || len(unit) == 0 {
		return nil, fmt.Errorf("a body of %d bytes can't be made", length)
	}
	return bytes.Repeat(unit, length/len(unit)+1)[:length], nil
}

// compact returns JSON without spaces.
func compact(raw json.RawMessage) ([]byte, error) {
	var b bytes.Buffer
	err := json.Compact(&b, raw)
	return b.Bytes(), err
}

// outgoing is a packet to be sent, without its sequence if that has a name.
type outgoing struct {
	packet
	name  string
	fake  *size // what the length field says instead of the truth
	times size
	each  bool
	text  *template // the bytes of a text instead of all this
}

// outgoing makes the packet that is sent to an end with limits l.
func (s *spec) outgoing(l *limits) (o outgoing, err error) {
	if s.Bytes != "" {
		t, err := parseBytes(s.Bytes)
		return outgoing{text: &t, times: size{plus: 1}}, err
	}
	if s.Message || s.AnyCode || s.AnyMeta {
		return o, errors.New("message, anyCode and anyMeta are for packets that are expected")
	}
	if o.packet, o.name, err = s.head(); err != nil {
		return o, err
	}
	body, err := s.body(l)
	if err != nil {
		return o, err
	}
	o.payload = append(s.block(), body...)
	o.times, o.each = size{plus: 1}, s.Each
	if s.Times != "" {
		if o.times, err = parseSize(string(s.Times)); err != nil {
			return o, err
		}
	}
	if s.Length != "" {
		fake, err := parseSize(string(s.Length))
		if err != nil {
			return o, err
		}
		o.fake = &fake
	}
	return o, nil
}
