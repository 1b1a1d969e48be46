package transport

import (
	"bytes"
	"testing"
)

// datagrams are one of each kind.
func datagrams() []datagram {
	k := cookie{window: 7, mac: [udpMACLen]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}}
	nonce := udpNonce{5}
	return []datagram{
		{kind: udpOpen, nonce: nonce},
		{kind: udpCookie, nonce: nonce, cookie: k, id: k.id()},
		{kind: udpFirst, nonce: nonce, cookie: k, id: k.id(), packet: []byte("packet")},
		{kind: udpData, id: k.id(), packet: bytes.Repeat([]byte("p"), UDPMaxPacket)},
		{kind: udpEnd, id: k.id()},
	}
}

func TestDatagramLayout(t *testing.T) {
	for _, d := range datagrams() {
		b := d.append(nil)
		got, ok := parseDatagram(b)
		if !ok || got.kind != d.kind || got.nonce != d.nonce || got.cookie != d.cookie || got.id != d.id || !bytes.Equal(got.packet, d.packet) {
			t.Errorf("kind %#x: %+v, %v", d.kind, got, ok)
		}
		if d.kind == udpOpen && len(b) != maxDatagram {
			t.Errorf("what opens a session has %d bytes", len(b))
		}
		if _, ok := parseDatagram(append(b, make([]byte, maxDatagram)...)); ok {
			t.Errorf("kind %#x: more than %d bytes are taken", d.kind, maxDatagram)
		}
		for n := range len(b) - len(d.packet) {
			if _, ok := parseDatagram(b[:n]); ok {
				t.Errorf("kind %#x: the first %d bytes are taken", d.kind, n)
			}
		}
	}
	for _, b := range [][]byte{
		nil,
		{0},
		{0x40, 0, 1, 'x', 0, 0},
		{0xF6, 1, 2, 3, 4, 5, 6, 7, 8},
		append([]byte{udpOpen}, make([]byte, maxDatagram-1)...), // without the magic
		{udpData, 1, 2, 3, 4, 5, 6, 7, 8},                       // without a packet
		{udpEnd, 1, 2, 3, 4, 5, 6, 7, 8, 9},                     // with one
	} {
		if d, ok := parseDatagram(b); ok {
			t.Errorf("%x is taken for %+v", b[:min(len(b), 20)], d)
		}
	}
}

// The documented bytes, so that the layout doesn't change by mistake.
func TestDatagramGolden(t *testing.T) {
	for _, c := range []struct {
		d    datagram
		want string
	}{
		{datagrams()[1], "\xf2\x05\x00\x00\x00\x00\x00\x00\x00\x07\x01\x02\x03\x04\x05\x06\x07\x08\x09" + string(make([]byte, 15))},
		{datagrams()[2], "\xf3\x05\x00\x00\x00\x00\x00\x00\x00\x07\x01\x02\x03\x04\x05\x06\x07\x08\x09" + string(make([]byte, 15)) + "packet"},
		{datagram{kind: udpData, id: udpID{1, 2, 3, 4, 5, 6, 7, 8}, packet: []byte("x")}, "\xf4\x01\x02\x03\x04\x05\x06\x07\x08x"},
		{datagrams()[4], "\xf5\x01\x02\x03\x04\x05\x06\x07\x08"},
	} {
		if got := c.d.append(nil); string(got) != c.want {
			t.Errorf("%x, want %x", got, c.want)
		}
	}
	open := datagrams()[0]
	if got := open.append(nil); string(got[:13]) != "\xf1fly2\x05\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%x", got[:13])
	}
}

// Whatever comes, what is understood of it is what was meant.
func FuzzDatagram(f *testing.F) {
	for _, d := range datagrams() {
		f.Add(d.append(nil))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, ok := parseDatagram(b)
		if !ok {
			return
		}
		again := d.append(nil)
		if d.kind == udpOpen {
			again, b = again[:13], b[:13] // the rest is padding
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is understood as %x", b, again)
		}
	})
}
