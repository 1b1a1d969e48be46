package main

import (
	"context"
	"fmt"

	"github.com/go-flyrpc/flyrpc"
)

// requests is a level at which there are calls, and bytes that they carry. SendRequest chooses the
// sequence and waits for the response with the same one, whatever code that has.
func requests(ctx context.Context, client, server *flyrpc.Conn) error {
	// A request that OnPacket takes over is answered with SendResponse, here or later.
	server.OnPacket(func(p *flyrpc.Packet) bool {
		if p.Flag&flyrpc.FlagWait == 0 || p.Code != "/count" {
			return false
		}
		if len(p.Payload) == 0 {
			_ = server.SendResponse(p.Sequence, "EMPTY", []byte("there is nothing to count"))
		} else {
			_ = server.SendResponse(p.Sequence, "", fmt.Append(nil, len(p.Payload)))
		}
		return true // who sends no response leaves the caller waiting
	})
	defer server.OnPacket(nil)
	for _, payload := range []string{"four", ""} {
		p, err := client.SendRequest(ctx, "/count", []byte(payload))
		if err != nil {
			return err // there was no response
		}
		fmt.Printf("3 response: code %q, %q\n", p.Code, p.Payload)
	}
	// The server needs no hook to be sent a request: a handler's answer is a response too.
	p, err := client.SendRequest(ctx, "/upper", []byte("loud"))
	if err != nil {
		return err
	}
	fmt.Printf("3 response: code %q, %q\n", p.Code, p.Payload)
	return nil
}

// handlers is the level at which there are values, which a serializer encodes, and errors. It is the one that
// programs use; /upper is registered in run.
func handlers(ctx context.Context, client *flyrpc.Conn) error {
	text, err := flyrpc.Call[string](ctx, client, "/upper", "loud and clear")
	if err != nil {
		return err
	}
	fmt.Println("4 handler:", text)
	err = client.Call(ctx, "/lower", "loud", nil)
	fmt.Println("4 handler:", err)
	return nil
}
