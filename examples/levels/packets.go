package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// lines compresses well.
func lines() []byte { return []byte(strings.Repeat("all is well\n", 100)) }

// bare is a Protocol by itself: it frames packets and holds them to limits, and that is all. There is no
// hello, and no packet means anything.
func bare(ctx context.Context) error {
	near, far := net.Pipe()
	out, in := flyrpc.NewProtocol(near, nil), flyrpc.NewProtocol(far, &flyrpc.ProtocolOpts{MaxFrame: 1 << 10})
	defer out.Close()
	defer in.Close()
	sent := make(chan error, 1)
	go func() {
		sent <- out.WritePacket(ctx, &flyrpc.Packet{Sequence: 7, Code: "anything", Payload: []byte("some bytes")})
	}()
	p, err := in.ReadPacket()
	if err != nil {
		return err
	}
	fmt.Printf("0 protocol: %d %s %q\n", p.Sequence, p.Code, p.Payload)
	return <-sent
}

// raw has the server see messages as they are on the wire. The client composes the first one by itself: flags,
// metadata, and a payload that is compressed, or not, as the flags say.
func raw(ctx context.Context, client, server *flyrpc.Conn) error {
	seen := make(chan *flyrpc.Packet, 1)
	// The hook runs where the connection is read, so it mustn't wait.
	server.OnRawPacket(func(p *flyrpc.Packet) bool {
		if p.Code != "/note" {
			return false // FlyRPC's own
		}
		seen <- p // there is room for the one that is sent
		return true
	})
	defer server.OnRawPacket(nil)
	if err := client.SendRawPacket(&flyrpc.Packet{
		Code:    "/note",
		Meta:    flyrpc.AppendMeta(nil, flyrpc.MetaKey, "lang", "en"),
		Payload: lines(),
	}); err != nil {
		return err
	}
	p, err := receive(ctx, seen)
	if err != nil {
		return err
	}
	fmt.Printf("1 raw: %s, %d bytes, compressed %t,", p.Code, len(p.Payload), compressed(p))
	for e, err := range flyrpc.ParseMeta(p.Meta) {
		if err != nil {
			return err
		}
		fmt.Printf(" %s=%s", e.Key, e.Value)
	}
	fmt.Println()

	// SendPacket compresses, and the raw level shows it.
	if err := client.SendPacket(&flyrpc.Packet{Code: "/note", Payload: lines()}); err != nil {
		return err
	}
	if p, err = receive(ctx, seen); err != nil {
		return err
	}
	fmt.Printf("1 raw: %s, fewer than 100 bytes %t, compressed %t\n", p.Code, len(p.Payload) < 100, compressed(p))
	return nil
}

// packets is the same a level higher: whoever sends and receives sees nothing of the compression.
func packets(ctx context.Context, client, server *flyrpc.Conn) error {
	seen := make(chan *flyrpc.Packet, 1)
	server.OnPacket(func(p *flyrpc.Packet) bool {
		if p.Code != "/note" {
			return false
		}
		seen <- p
		return true
	})
	defer server.OnPacket(nil)
	if err := client.SendPacket(&flyrpc.Packet{Code: "/note", Payload: lines()}); err != nil {
		return err
	}
	p, err := receive(ctx, seen)
	if err != nil {
		return err
	}
	fmt.Printf("2 packet: %s, %d bytes, compressed %t\n", p.Code, len(p.Payload), compressed(p))
	return nil
}

func compressed(p *flyrpc.Packet) bool { return p.Flag&flyrpc.FlagZipPayload != 0 }

// receive returns the packet that a hook has passed on.
func receive(ctx context.Context, seen <-chan *flyrpc.Packet) (*flyrpc.Packet, error) {
	select {
	case p := <-seen:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
