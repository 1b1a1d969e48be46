package transport_test

import (
	"net"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

func TestConformanceUDP(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		Transport:   new(transport.UDP),
		Addr:        func(testing.TB) string { return "udp://127.0.0.1:0" },
		DialAddr:    func(l net.Listener) string { return "udp://" + l.Addr().String() },
		WrongAddrs:  []string{"udp://localhost", "udp://me@localhost:7000", "udp://localhost:7000/path", "udp://localhost:99999"},
		MaxPacket:   transport.UDPMaxPacket,
		Unordered:   true,
		Unreliable:  true,
		NoHalfClose: true,
	})
}
