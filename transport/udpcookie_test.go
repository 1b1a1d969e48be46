package transport

import (
	"net/netip"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

func TestCookies(t *testing.T) {
	var c cookies
	from := netip.MustParseAddrPort("192.0.2.1:1234")
	nonce := udpNonce{1}
	const made = 25 * time.Second // in the window from 20 s to 30 s
	k := c.make(made, from, nonce)
	for name, x := range map[string]struct {
		age   time.Duration
		from  string
		nonce udpNonce
		flip  int // a bit of the MAC, or -1
		want  bool
	}{
		"at once":           {made, "192.0.2.1:1234", nonce, -1, true},
		"in the window":     {30*time.Second - 1, "192.0.2.1:1234", nonce, -1, true},
		"in the next":       {40*time.Second - 1, "192.0.2.1:1234", nonce, -1, true},
		"too late":          {40 * time.Second, "192.0.2.1:1234", nonce, -1, false},
		"much too late":     {time.Hour, "192.0.2.1:1234", nonce, -1, false},
		"256 windows later": {made + 256*cookieWindow, "192.0.2.1:1234", nonce, -1, false},
		"another address":   {made, "192.0.2.2:1234", nonce, -1, false},
		"another port":      {made, "192.0.2.1:1235", nonce, -1, false},
		"another nonce":     {made, "192.0.2.1:1234", udpNonce{2}, -1, false},
		"a bit of the id":   {made, "192.0.2.1:1234", nonce, 3, false},
		"the last bit":      {made, "192.0.2.1:1234", nonce, 8*udpMACLen - 1, false},
	} {
		again := cookies{current: c.current, last: c.last}
		got := k
		if x.flip >= 0 {
			got.mac[x.flip/8] ^= 1 << (x.flip % 8)
		}
		if ok := again.check(x.age, netip.MustParseAddrPort(x.from), x.nonce, got); ok != x.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
	var other cookies
	if other.check(made, from, nonce, k) {
		t.Error("another server takes the cookie")
	}
	if c.make(made, from, nonce) != k {
		t.Error("a client that asks twice in a window gets two cookies")
	}
	if c.make(made+cookieWindow, from, nonce) == k {
		t.Error("the secret stays the same")
	}
}

// Making and checking cookies takes no memory, so spoofed datagrams cost none.
func TestCookiesAllocate(t *testing.T) {
	var c cookies
	from := netip.MustParseAddrPort("192.0.2.1:1234")
	c.make(0, from, udpNonce{})
	if n := memorytest.AllocsPerRun(100, func() {
		k := c.make(0, from, udpNonce{1})
		c.check(0, from, udpNonce{1}, k)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
