package transport

import "bytes"

const (
	// maxDatagram is the most bytes of a UDP datagram that is sent or taken: so many arrive unfragmented nearly everywhere.
	maxDatagram = 1200
	// UDPMaxPacket is the most bytes that one Write to a connection over UDP takes: a datagram without what the
	// longest header has.
	UDPMaxPacket = maxDatagram - udpFirstHeader

	udpFirstHeader = 1 + len(udpNonce{}) + udpCookieLen
	udpDataHeader  = 1 + len(udpID{})
	udpCookieLen   = 1 + udpMACLen
	udpMACLen      = 24
)

// The first byte of a datagram says what it is.
const (
	udpOpen   = 0xF1 // client to server: "fly2", nonce, zeros up to maxDatagram bytes
	udpCookie = 0xF2 // server to client: nonce, cookie
	udpFirst  = 0xF3 // client to server: nonce, cookie, packet
	udpData   = 0xF4 // session id, packet
	udpEnd    = 0xF5 // session id: the sender has closed the session
)

// udpMagic stands in what opens a session, so that stray datagrams aren't answered.
const udpMagic = "fly2"

type (
	// udpNonce is what a client has chosen for a session, at random.
	udpNonce [8]byte
	// udpID names a session, beside its client's address. Nobody knows it who hasn't seen the session's datagrams.
	udpID [8]byte
	// cookie proves that whoever returns it receives at the address that it was sent to.
	cookie struct {
		window byte // which secret it was made with
		mac    [udpMACLen]byte
	}
)

// id returns the id of the session that a cookie opens.
func (c *cookie) id() udpID { return udpID(c.mac[:len(udpID{})]) }

// datagram is a datagram's content.
type datagram struct {
	kind   byte
	nonce  udpNonce // of udpOpen, udpCookie, udpFirst
	cookie cookie   // of udpCookie, udpFirst
	id     udpID    // of udpData, udpEnd and udpFirst
	packet []byte   // of udpFirst, udpData: not empty. It shares the parsed bytes' memory
}

// parseDatagram parses a datagram. It reports false for one that isn't to be looked at any further: of another kind,
// with too few bytes for its kind or too many for any, or, of udpOpen, without the magic and the full length.
func parseDatagram(b []byte) (d datagram, ok bool) {
	if len(b) == 0 || len(b) > maxDatagram {
		return d, false
	}
	d.kind = b[0]
	rest := b[1:]
	switch d.kind {
	case udpOpen:
		rest, ok = bytes.CutPrefix(rest, []byte(udpMagic))
		return d, ok && len(b) == maxDatagram && take(d.nonce[:], &rest)
	case udpCookie:
		return d, take(d.nonce[:], &rest) && d.takeCookie(&rest) && len(rest) == 0
	case udpFirst:
		ok = take(d.nonce[:], &rest) && d.takeCookie(&rest) && len(rest) > 0
	case udpData:
		ok = take(d.id[:], &rest) && len(rest) > 0
	case udpEnd:
		return d, take(d.id[:], &rest) && len(rest) == 0
	}
	d.packet = rest
	return d, ok
}

// takeCookie takes a cookie off b, if there is one.
func (d *datagram) takeCookie(b *[]byte) bool {
	var window [1]byte
	ok := take(window[:], b) && take(d.cookie.mac[:], b)
	d.cookie.window, d.id = window[0], d.cookie.id()
	return ok
}

// take fills dst with the beginning of b, which it takes off, if b has as much.
func take(dst []byte, b *[]byte) bool {
	if len(*b) < len(dst) {
		return false
	}
	copy(dst, *b)
	*b = (*b)[len(dst):]
	return true
}

// append appends the bytes of a datagram to b.
func (d *datagram) append(b []byte) []byte {
	begin := len(b)
	b = append(b, d.kind)
	switch d.kind {
	case udpOpen:
		b = append(append(b, udpMagic...), d.nonce[:]...)
		return append(b, make([]byte, maxDatagram-(len(b)-begin))...)
	case udpCookie, udpFirst:
		b = append(append(b, d.nonce[:]...), d.cookie.window)
		b = append(b, d.cookie.mac[:]...)
	default:
		b = append(b, d.id[:]...)
	}
	return append(b, d.packet...)
}
