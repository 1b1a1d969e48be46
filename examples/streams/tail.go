package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/go-flyrpc/flyrpc"
)

// journal is a log that somebody may follow.
type journal struct {
	lines chan string
	left  chan struct{} // closed when the follower is gone
}

func newJournal() *journal {
	return &journal{lines: make(chan string), left: make(chan struct{})}
}

// tail answers with lines as they are written. The handler has returned its sequence, but it
// hasn't ended: FlyRPC ranges over the sequence now, and ctx lives for as long.
func (j *journal) tail(ctx *flyrpc.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		defer close(j.left)
		for {
			select {
			case line := <-j.lines:
				// yield waits while the client is slow, and returns false if it is gone.
				if !yield(line, nil) {
					return
				}
			case <-ctx.Done():
				// Nothing is written, so nothing is sent: only the context tells that
				// the client doesn't listen any more.
				fmt.Println("server: the follower is gone:", ctx.Err())
				return
			}
		}
	}
}

// tailLog follows the log until it sees what it has looked for.
func tailLog(ctx context.Context, cli *flyrpc.Client, j *journal) error {
	go func() { // what the server is busy with
		for _, line := range []string{"starting", "listening", "ready"} {
			select {
			case j.lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	for line, err := range flyrpc.Receive[string](ctx, cli, "/log/tail", nil) {
		if err != nil {
			return err // the error comes last, in place of a line
		}
		fmt.Println("client: log:", line)
		if line == "ready" {
			break // this ends the handler's context; the connection is for more
		}
	}
	select {
	case <-j.left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
