package websocket

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

func TestConformanceWS(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		Transport: Transport{},
		Addr:      func(testing.TB) string { return "ws://127.0.0.1:0/any/path" },
		DialAddr:  func(l net.Listener) string { return "ws://" + l.Addr().String() + "/any/path" },
		WrongAddrs: []string{
			"ws://me:pass@localhost:7000", "ws://localhost:7000/#part", "ws://localhost:70000/",
		},
	})
}

func TestConformanceWSS(t *testing.T) {
	authority := transporttest.NewAuthority(t)
	transporttest.Run(t, transporttest.Config{
		Transport: Transport{TLS: &tls.Config{
			Certificates: []tls.Certificate{authority.Certificate(t, "server")}, RootCAs: authority.Pool(),
		}},
		Addr:               func(testing.TB) string { return "wss://127.0.0.1:0" },
		DialAddr:           func(l net.Listener) string { return "wss://" + l.Addr().String() },
		WrongAddrs:         []string{"wss://me@localhost:7000/"},
		TimeoutEndsWriting: true,
	})
}
