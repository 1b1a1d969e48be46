package transport

import (
	"net"
	"syscall"
	"testing"
)

// A peer that reads nothing is sent what fits its own buffer; of the rest little waits in this system.
func TestLimitUnsent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := map[bool]int{}
	for _, limited := range []bool{false, true} {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		if err := far.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		raw, ok := Raw(near)
		if !ok {
			t.Fatal("no RawConn")
		}
		if !limited {
			_ = raw.raw.Control(func(fd uintptr) {
				if err := syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, 1<<30); err != nil {
					t.Error(err)
				}
			})
		}
		taken[limited] = writeAll(t, raw)
	}
	if taken[true] > taken[false]/2 {
		t.Errorf("%d bytes were taken with the limit, %d without", taken[true], taken[false])
	}
}

// writeAll writes until nothing more is taken.
func writeAll(t *testing.T, raw *RawConn) (total int) {
	b := make([]byte, 64<<10)
	for {
		n, err := raw.TryWrite(b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return total
		}
		total += n
	}
}
