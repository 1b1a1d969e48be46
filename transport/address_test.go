package transport

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseAddr(t *testing.T) {
	for _, c := range []struct{ addr, scheme, host string }{
		{"localhost:7000", "tcp", "localhost:7000"},
		{":7000", "tcp", ":7000"},
		{"[::1]:7000", "tcp", "[::1]:7000"},
		{"[fe80::1%eth0]:7000", "tcp", "[fe80::1%eth0]:7000"},
		{"10.0.0.1:0", "tcp", "10.0.0.1:0"},
		{"mem:7000", "tcp", "mem:7000"},
		{"tcp://localhost:7000", "tcp", "localhost:7000"},
		{"TCP://localhost:7000", "tcp", "localhost:7000"},
		{"tcp://[fe80::1%25eth0]:7000", "tcp", "[fe80::1%eth0]:7000"},
		{"mem://name", "mem", "name"},
		{"unix:///run/fly.sock", "unix", ""},
		{"ws+fly://h/path?q=1", "ws+fly", "h"},
	} {
		u, err := ParseAddr(c.addr)
		if err != nil {
			t.Errorf("%q: %v", c.addr, err)
			continue
		}
		if u.Scheme != c.scheme || u.Host != c.host {
			t.Errorf("%q: scheme %q host %q, want %q %q", c.addr, u.Scheme, u.Host, c.scheme, c.host)
		}
	}
}

func TestParseAddrErrors(t *testing.T) {
	for _, c := range []struct{ addr, says string }{
		{"", "it is empty"},
		{"localhost", "missing port in address; write host:port"},
		{"localhost:", "it has no port"},
		{"::1", "too many colons in address; write host:port"},
		{"::1:7000", "too many colons"},
		{"localhost:http", `port "http" is no number from 0 to 65535`},
		{"localhost:65536", `port "65536" is no number from 0 to 65535`},
		{"localhost:-1", `port "-1" is no number`},
		{"mem:name", `port "name" is no number`},
		{"tcp:localhost:7000", "too many colons"},
		{"localhost:7000/x", "takes no path or query"},
		{"localhost:7000?x", "takes no path or query"},
		{"/run/fly.sock", "takes no path or query"},
		{"//localhost:7000", "takes no path or query"},
		{"me:secret@localhost:7000", "takes no user or password"},
		{"a b:7000", "characters that no host has"},
		{" localhost:7000", "characters that no host has"},
		{"lo^cal:7000", "characters that no host has"},
		{"a\x00b:7000", "characters that no host has"},
		{"://localhost:7000", "missing protocol scheme"},
		{"1tcp://localhost:7000", "first path segment"},
		{"/tcp://localhost:7000", "starts with its scheme"},
		{"tcp:x://localhost:7000", "starts with its scheme"},
		{"tcp://localhost:http", `invalid port ":http"`},
		{"tcp://a b:7000", "invalid character"},
		{"tcp://me:sec/ret@localhost:7000", "it is no valid URL"},
	} {
		_, err := ParseAddr(c.addr)
		wantAddrError(t, c.addr, err, c.says)
	}
}

// wantAddrError checks the error's type and text, and that no password is in it.
func wantAddrError(t *testing.T, addr string, err error, says string) {
	t.Helper()
	var wrong *AddrError
	if !errors.As(err, &wrong) {
		t.Errorf("%q: error %v, want an *AddrError", addr, err)
		return
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%q: error %q doesn't say %q", addr, err, says)
	}
	if strings.Contains(err.Error(), "sec") {
		t.Errorf("%q: error %q tells the password", addr, err)
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, addr := range []string{
		"", ":7000", "[::1]:7000", "localhost:7000", "tcp://localhost:7000", "mem://name", "a%25b:1",
		"tcp://u:p@h:1", "[fe80::1%eth0]:7000", "unix:///x", "://", "a:b://c", "h:1/x", "tcp://[::1", "é:1",
	} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		u, err := ParseAddr(addr)
		if err != nil {
			var wrong *AddrError
			if !errors.As(err, &wrong) || u != nil {
				t.Fatalf("%q: %v with an error of type %T", addr, u, err)
			}
			return
		}
		if !validScheme(u.Scheme) {
			t.Fatalf("%q: scheme %q", addr, u.Scheme)
		}
		if !strings.Contains(addr, "://") {
			sameAsURL(t, addr, u)
		}
		_, _ = tcpHostPort(u)
		_, _ = memName(u)
		_, _ = unixPath(u)
	})
}

// sameAsURL checks that a bare address means what its URL means.
func sameAsURL(t *testing.T, addr string, bare *url.URL) {
	t.Helper()
	full, err := ParseAddr(bare.String())
	if err != nil {
		t.Fatalf("%q is accepted, its URL %q is not: %v", addr, bare, err)
	}
	a, errA := tcpHostPort(bare)
	b, errB := tcpHostPort(full)
	if a != b || errA != nil || errB != nil {
		t.Fatalf("%q: %q (%v), its URL: %q (%v)", addr, a, errA, b, errB)
	}
}
