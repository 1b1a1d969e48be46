// Command files sends a large file to a server and gets it back, and shows that neither side
// holds more of it in memory than a few hundred KiB at a time.
//
// The server is a process of its own, this program again, so that each side's memory is measured
// by itself. The file is made up as it is read, unless -in names one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
)

var (
	size  = flag.Int64("size", 1024, "how large a file to make up, in `MiB`")
	in    = flag.String("in", "", "send this `file` instead")
	limit = flag.Float64("limit", 64, "fail if a process has taken more memory, in `MiB`")
	serve = flag.Bool("serve", false, "be the server; this program starts itself so")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := transfer
	if *serve {
		run = runServer
	}
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// open returns the file's content and length. Both processes have the same.
func open() (io.ReadCloser, int64, error) {
	if *in == "" {
		n := *size << 20
		return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{}), n)), n, nil
	}
	f, err := os.Open(*in)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", *in, err), f.Close())
	}
	return f, info.Size(), nil
}
