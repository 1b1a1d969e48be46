package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

// cookieWindow is how long cookies are made with the same secret. They are good for the rest of it and for the next.
const cookieWindow = 10 * time.Second

// cookies makes and checks cookies. A cookie is a MAC of the client's address, its nonce and the time window, by a secret
// that is another one in each window. So nothing is kept of a client that hasn't returned its cookie. One goroutine uses it.
type cookies struct {
	current, last cookieSecret
	data          [16 + 2 + len(udpNonce{}) + 8]byte // what a MAC is of, so that no memory is taken for it
	sum           [sha256.Size]byte
}

// cookieSecret is the secret of a time window. Without a mac there is none.
type cookieSecret struct {
	window int64
	mac    hash.Hash
}

// newCookieSecret returns a new secret for a window.
func newCookieSecret(window int64) cookieSecret {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails
	return cookieSecret{window, hmac.New(sha256.New, key[:])}
}

// turn makes the secret of the window that age, the time since the cookies' beginning, is in the current one.
func (c *cookies) turn(age time.Duration) {
	window := int64(age / cookieWindow)
	switch {
	case c.current.mac == nil || window > c.current.window+1:
		c.last = cookieSecret{}
	case window == c.current.window+1:
		c.last = c.current
	default:
		return
	}
	c.current = newCookieSecret(window)
}

// make returns the cookie of a client.
func (c *cookies) make(age time.Duration, from netip.AddrPort, nonce udpNonce) cookie {
	c.turn(age)
	return c.with(c.current, from, nonce)
}

// check reports whether a client has returned a cookie that was made for it, in this window or the one before.
func (c *cookies) check(age time.Duration, from netip.AddrPort, nonce udpNonce, got cookie) bool {
	c.turn(age)
	for _, s := range []cookieSecret{c.current, c.last} {
		if s.mac == nil || byte(s.window) != got.window {
			continue
		}
		want := c.with(s, from, nonce)
		return hmac.Equal(want.mac[:], got.mac[:])
	}
	return false
}

// with returns the cookie of a client by a secret.
func (c *cookies) with(s cookieSecret, from netip.AddrPort, nonce udpNonce) (k cookie) {
	addr := from.Addr().As16()
	data := binary.BigEndian.AppendUint16(append(c.data[:0], addr[:]...), from.Port())
	data = binary.BigEndian.AppendUint64(append(data, nonce[:]...), uint64(s.window))
	s.mac.Reset()
	s.mac.Write(data)
	k.window = byte(s.window)
	copy(k.mac[:], s.mac.Sum(c.sum[:0]))
	return k
}
