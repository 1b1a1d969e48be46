// Package peers makes the same call, an echo of one message, with FlyRPC and with
// what else there is for it in Go.
package peers

import (
	"bytes"
	"fmt"
	"net"
	"slices"
)

// The payloads that are measured. With Small a message is about 64 bytes.
const (
	Small  = 24
	Medium = 1 << 10
	Large  = 1 << 20
)

// Message is what all peers echo.
type Message struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Payload []byte `json:"payload"`
}

// NewMessage returns the message with a payload of size bytes.
func NewMessage(size int) *Message {
	return &Message{ID: 1 << 40, Name: "Ada Lovelace", Payload: bytes.Repeat([]byte{7}, size)}
}

// Check says what of an echo isn't the message that was sent. It looks at every byte.
func (m *Message) Check(echo *Message) error {
	if err := m.Glance(echo); err != nil {
		return err
	}
	if echo.Name != m.Name || !bytes.Equal(echo.Payload, m.Payload) {
		return fmt.Errorf("the echo has another name (%q) or payload", echo.Name)
	}
	return nil
}

// Glance does what Check does for what takes no time to look at, so that it
// can be done with every call that is measured.
func (m *Message) Glance(echo *Message) error {
	if echo.ID != m.ID || len(echo.Payload) != len(m.Payload) {
		return fmt.Errorf("the echo has id %d and %d bytes, not %d and %d",
			echo.ID, len(echo.Payload), m.ID, len(m.Payload))
	}
	return nil
}

// Peer is one way to make the call.
type Peer struct {
	Name  string
	Serve func() (*Server, error)
	Dial  func(addr string) (Client, error)
	// Raw peers know no calls: they show what the sockets can do.
	Raw bool
	// Alone peers can have one caller only.
	Alone bool
}

// Server echoes until it is closed.
type Server struct {
	Addr  string
	Close func()
}

// Client is one connection to a server, unless its peer says otherwise.
type Client interface {
	// Caller returns a function that calls with m and returns the echo. It is for one
	// goroutine; others get functions of their own, and call at the same time.
	Caller(m *Message) func() (Message, error)
	Close() error
}

// Batcher is a client without callers: it sends many messages at once.
type Batcher interface {
	Client
	// Batch returns a function that sends m n times and returns when all are back.
	Batch(m *Message, n int) func() (Message, error)
}

// All returns every peer.
func All() []Peer {
	return slices.Concat(rawPeers(), flyrpcPeers(), []Peer{
		{Name: "net/rpc", Serve: serveNetRPC, Dial: dialNetRPC},
		{Name: "grpc", Serve: serveGRPC, Dial: dialGRPC},
		{Name: "ttrpc", Serve: serveTTRPC, Dial: dialTTRPC},
		{Name: "drpc", Serve: serveDRPC, Dial: dialDRPC},
		{Name: "drpc-pool", Serve: serveDRPC, Dial: dialDRPCPool},
		{Name: "connect", Serve: serveConnect, Dial: dialConnect},
		{Name: "nats", Serve: serveNATS, Dial: dialNATS},
	})
}

// Find returns the peer of that name.
func Find(name string) (Peer, error) {
	for _, p := range All() {
		if p.Name == name {
			return p, nil
		}
	}
	return Peer{}, fmt.Errorf("there is no peer %q", name)
}

// listen returns a listener on a free port of loopback.
func listen() (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:0")
}
