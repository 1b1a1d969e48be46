package peers

import (
	"encoding/binary"
	"io"
	"net"
)

// A raw message is the id, the name with zeros behind it, and the payload. With
// Small that is 64 bytes. Both ends know the size, so nothing else is sent.
const (
	rawName   = 8
	rawHeader = 40
	rawBuffer = 256 << 10
	// rawAtOnce is how much one goroutine writes before it reads: more could fill the kernel's
	// buffers in both directions.
	rawAtOnce = 64 << 10
)

// rawPeers returns TCP without calls: one message back and forth, the floor for
// one caller, and many in one write, the ceiling for many callers.
func rawPeers() []Peer {
	serve := func() (*Server, error) { return serveConns(echoRaw) }
	return []Peer{
		{Name: "raw-pingpong", Serve: serve, Dial: dialRaw, Raw: true, Alone: true},
		{Name: "raw-pipelined", Serve: serve, Dial: dialPipelined, Raw: true},
	}
}

// echoRaw sends back what one connection sends.
func echoRaw(c net.Conn) {
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
		if n == len(buf) && n < rawBuffer {
			buf = make([]byte, rawBuffer)
		}
	}
}

// encodeRaw returns the raw message of m.
func encodeRaw(m *Message) []byte {
	b := make([]byte, rawHeader, rawHeader+len(m.Payload))
	binary.LittleEndian.PutUint64(b, uint64(m.ID))
	copy(b[rawName:], m.Name)
	return append(b, m.Payload...)
}

// decodeRaw returns the message in b, which it shares; name is the one to expect.
func decodeRaw(b []byte, name string) Message {
	m := Message{ID: int64(binary.LittleEndian.Uint64(b)), Payload: b[rawHeader:]}
	if got := b[rawName : rawName+len(name)]; string(got) == name {
		m.Name = name
	}
	return m
}

type rawClient struct{ net.Conn }

func dialRaw(addr string) (Client, error) {
	c, err := net.Dial("tcp", addr)
	return rawClient{c}, err
}

func (c rawClient) Caller(m *Message) func() (Message, error) {
	out := encodeRaw(m)
	in := make([]byte, len(out))
	return func() (Message, error) {
		err := c.exchange(func() error {
			_, err := c.Write(out)
			return err
		}, in, len(out) > rawAtOnce)
		return decodeRaw(in, m.Name), err
	}
}

// exchange writes and fills in with what comes back, at the same time if it is large.
func (c rawClient) exchange(write func() error, in []byte, large bool) error {
	if !large {
		if err := write(); err != nil {
			return err
		}
		_, err := io.ReadFull(c, in)
		return err
	}
	written := make(chan error, 1)
	go func() { written <- write() }()
	if _, err := io.ReadFull(c, in); err != nil {
		return err
	}
	return <-written
}

type pipelinedClient struct{ rawClient }

func dialPipelined(addr string) (Client, error) {
	c, err := net.Dial("tcp", addr)
	return pipelinedClient{rawClient{c}}, err
}

// Batch writes n messages at once: small ones from one buffer, large ones gathered.
func (c pipelinedClient) Batch(m *Message, n int) func() (Message, error) {
	one := encodeRaw(m)
	list := make(net.Buffers, n)
	for i := range list {
		list[i] = one
	}
	total := n * len(one)
	in := make([]byte, total)
	parts := make(net.Buffers, n)
	write := func() error {
		rest := parts[:copy(parts, list)]
		_, err := rest.WriteTo(c.Conn)
		return err
	}
	return func() (Message, error) {
		err := c.exchange(write, in, total > rawAtOnce)
		return decodeRaw(in[total-len(one):], m.Name), err
	}
}
