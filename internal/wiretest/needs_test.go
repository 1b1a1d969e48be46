package wiretest

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// TestNeeds compares what each scenario says it needs with the compressed bodies and codes that it sends.
func TestNeeds(t *testing.T) {
	counts := make(map[string]int)
	for _, s := range scenarios(t) {
		want := needs(t, &s)
		if got := slices.Sorted(slices.Values(s.Needs)); !slices.Equal(got, want) {
			t.Errorf("%q needs %q, and says %q", s.Name, want, got)
		}
		for _, method := range want {
			counts[method]++
		}
	}
	if counts["flate"] < 10 || counts["zstd"] < 10 {
		t.Errorf("so many scenarios need each method: %v", counts)
	}
}

// needs returns the compression methods that another end needs which is played a scenario, in their order.
func needs(t *testing.T, s *Scenario) []string {
	if s.hello.v1 || s.hello.none {
		return nil // compression is agreed in no hello
	}
	n := needed{pieces: make(map[string][]byte)}
	for i := range s.steps {
		if send := s.steps[i].send; send != nil {
			o, err := send.outgoing(new(limits))
			if err != nil {
				t.Fatal(err)
			}
			n.sent(&o)
		}
	}
	slices.Sort(n.methods)
	return slices.Compact(n.methods)
}

// needed is what the packets of a scenario need.
type needed struct {
	methods []string
	pieces  map[string][]byte // payloads of pieces, by the sequence as it stands on the wire or its name
}

// sent looks at what one step sends: a packet, several, or parts of one, which nothing can be told of.
func (n *needed) sent(o *outgoing) {
	if o.text == nil {
		n.packet(&o.packet, o.name)
		return
	}
	for r := bytes.NewReader(o.text.bytes); r.Len() > 0; {
		p, err := readPacket(r, func(b []byte) error {
			_, err := io.ReadFull(r, b)
			return err
		})
		if err != nil {
			return
		}
		n.packet(p, o.text.name)
	}
}

// packet looks at one packet. A frame is an item if it has no code; whether others are compressed nobody looks.
func (n *needed) packet(p *packet, name string) {
	key := name + string(p.bytes()[1:3]) + string(p.flag&flagResponse)
	isFrame := p.flag&flagStream != 0 && p.flag&(flagWait|flagResponse) != flagWait
	switch {
	case p.flag&flagStream != 0 && string(p.code) == "+":
		n.pieces[key] = append(n.pieces[key], p.payload...)
		return
	case isFrame && (len(p.code) > 0 || p.flag&flagZipCode != 0):
		return
	}
	whole := append(n.pieces[key], p.payload...)
	delete(n.pieces, key)
	if p.flag&flagZipCode != 0 {
		n.method(p.code[min(1, len(p.code)):]) // behind the byte that begins the first run without zeros
	}
	if p.flag&flagZipPayload != 0 {
		_, body, err := splitMeta(p.flag, whole)
		if err == nil {
			n.method(body)
		}
	}
}

// method notes what something compressed is compressed by.
func (n *needed) method(compressed []byte) {
	if bytes.HasPrefix(compressed, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		n.methods = append(n.methods, "zstd")
	} else {
		n.methods = append(n.methods, "flate")
	}
}
