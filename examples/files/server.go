package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"

	"github.com/go-flyrpc/flyrpc"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// receipt is what the server has seen of a file.
type receipt struct {
	Bytes int64
	Sum   uint32
}

// upload reads what the client sends, as it comes. Reading slowly slows the client down, not
// reading stops it after 256 KiB (ServerOpts.StreamWindow).
func upload(r io.Reader) (*receipt, error) {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, r)
	if err != nil {
		return nil, err // the client has given up: a file cut short never looks complete
	}
	return &receipt{n, sum.Sum32()}, nil
}

// download answers with a reader, which is read as fast as the client takes it, and closed in
// the end, whatever happens.
func download() (io.ReadCloser, error) {
	file, _, err := open()
	return file, err
}

// runServer serves until standard input ends: with that, the process goes when the one
// that started it does.
func runServer(ctx context.Context) error {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/upload", upload)
	srv.OnMessage("/download", download)
	srv.OnMessage("/memory", peakMemory)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr()) // the other process reads it
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Shutdown(ctx)
	}()
	if err := srv.Serve(l); !errors.Is(err, flyrpc.ErrServerClosed) {
		return err
	}
	return nil
}
