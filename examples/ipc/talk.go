package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-flyrpc/flyrpc"
)

// talk calls the plug-in by both ways.
func talk(ctx context.Context, p *plugin) error {
	if err := p.Connect(ctx); err != nil { // the plug-in answers when it listens at its socket
		return err
	}
	sock, err := flyrpc.Dial(ctx, "unix://"+p.socket, nil)
	if err != nil {
		return err
	}
	defer sock.Close()
	sock.OnMessage("/name", func() string { return "socket" })
	for _, cli := range []*flyrpc.Client{p.Client, sock} {
		upper, err := flyrpc.Call[string](ctx, cli, "/upper", "both ways")
		if err != nil {
			return err
		}
		greeting, err := flyrpc.Call[string](ctx, cli, "/greet", nil)
		if err != nil {
			return err
		}
		carrier, err := flyrpc.Call[string](ctx, cli, "/carrier", nil)
		if err != nil {
			return err
		}
		fmt.Printf("by %s: %s, %s\n", carrier, upper, greeting)
	}
	return nil
}

// kill kills the plug-in while it works on a call.
func kill(ctx context.Context, p *plugin) error {
	call := p.Go(ctx, "/hang", nil, nil)
	select {
	case <-p.begun:
	case <-call.Done():
		return call.Err()
	}
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	// Whether it would have come to an end nobody knows: it is repeated only if that does no harm.
	report("the call that was under way", call.Err())
	report("the next call", p.Call(ctx, "/upper", "anybody?", nil))
	_, err := os.Stat(p.socket)
	fmt.Println("its socket is still there:", err == nil)
	return nil
}

// report prints what became of a call that has failed.
func report(what string, err error) {
	var e *flyrpc.Error
	if errors.As(err, &e) { // all errors of calls are such
		fmt.Printf("%s: %s, outcome %v\n", what, e.Code, flyrpc.Outcome(err))
	}
}
