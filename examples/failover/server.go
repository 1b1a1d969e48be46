package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// items is how many a stream has. After the first few the server asks the client to go on.
const (
	items = 9
	first = 3
)

// from asks for a stream's items from N on.
type from struct{ N int }

// item is one of them.
type item struct {
	N      int
	Server string
}

// routes registers what a server answers.
func routes(srv *flyrpc.Server, name string) {
	srv.OnMessage("/who", func() string { return name })
	// A call that takes as long as the client wants: it calls back, and answers when it has an answer.
	srv.OnMessage("/work", func(ctx *flyrpc.Context) (string, error) {
		return name, ctx.Call("/working", name, nil)
	})
	srv.OnMessage("/count", func(ctx *flyrpc.Context, f *from) iter.Seq2[item, error] {
		return func(yield func(item, error) bool) {
			for n := f.N; n <= items; n++ {
				if n == first+1 {
					if err := ctx.Call("/working", name, nil); err != nil {
						yield(item{}, err)
						return
					}
				}
				if !yield(item{n, name}, nil) {
					return
				}
			}
		}
	})
}

// runServer is what a server's process does. text is its name and, after a blank, its address. It serves until its input has
// a line, which is the order to shut down, or ends.
func runServer(text string) error {
	name, addr, _ := strings.Cut(text, " ")
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{Logger: quiet})
	routes(srv, name)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Println(l.Addr())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = srv.Shutdown(ctx)
	} else if errors.Is(err, io.EOF) {
		err = srv.Close()
	}
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
