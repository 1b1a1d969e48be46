package main

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// beat is the pause between the bytes of a peer that is slow.
const beat = 200 * time.Millisecond

// peer is a client that writes packets as it likes.
type peer struct {
	*net.TCPConn
	in     *flyrpc.Protocol // what reads packets; nil until it is needed
	seq    uint16
	served func() // says that the server has done what it is to do, before the connection ends; may be called again
}

// packet returns the bytes of a packet.
func packet(flag flyrpc.Flag, seq uint16, path string, payload []byte) []byte {
	b, err := flyrpc.AppendPacket(nil, &flyrpc.Packet{Flag: flag, Sequence: seq, Code: path, Payload: payload})
	if err != nil {
		panic(err) // it depends on what this program says alone
	}
	return b
}

// helloPacket is what a client begins with.
func helloPacket() []byte {
	return packet(flyrpc.FlagWait, 1, "fly.hello", []byte(`{"flyrpc":2,"serializers":["msgpack"],"codes":0}`))
}

// hello says hello and reads the answer.
func (p *peer) hello() error {
	if _, err := p.Write(helloPacket()); err != nil {
		return err
	}
	_, err := p.answer()
	return err
}

// answer reads the next response.
func (p *peer) answer() (flyrpc.Packet, error) {
	if p.in == nil {
		p.in = flyrpc.NewProtocol(p.TCPConn, nil)
	}
	for {
		pkt, err := p.in.ReadPacket()
		if err != nil || pkt.Flag&(flyrpc.FlagResponse|flyrpc.FlagStream) == flyrpc.FlagResponse {
			return pkt, err
		}
	}
}

// request returns the bytes of a call.
func (p *peer) request(path string, payload []byte) []byte {
	p.seq = p.seq%32000 + 1
	return packet(flyrpc.FlagWait, p.seq, path, payload)
}

// drop reads all that comes and looks at nothing. The channel is closed when nothing comes any more.
func (p *peer) drop() (cut <-chan struct{}) {
	end := make(chan struct{})
	go func() {
		defer close(end)
		_, _ = io.Copy(io.Discard, p.TCPConn)
	}()
	return end
}

// dribble writes a byte now and then, until that fails or there are no more.
func (p *peer) dribble(ctx context.Context, b []byte) error {
	cut := p.drop()
	for i := range b {
		if _, err := p.Write(b[i : i+1]); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-cut:
			return io.EOF
		case <-time.After(beat):
		}
	}
	<-cut
	return io.EOF
}
