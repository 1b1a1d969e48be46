package flyrpc_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log"
	"slices"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// upTo answers with the numbers from 1 to n.
func upTo(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i+1, nil) {
				return // the caller takes no more
			}
		}
	}
}

// A handler that returns a sequence is called with Receive. What it yields comes as it is yielded; breaking
// out of the loop ends the handler.
func ExampleReceive() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/count", upTo)
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	for n, err := range flyrpc.Receive[int](context.Background(), cli, "/count", 1_000_000) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n)
		if n == 3 {
			break
		}
	}
	// Output:
	// 1
	// 2
	// 3
}

// An error that the handler yields comes after all items, and is the last that the loop sees.
func ExampleReceive_error() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/lines", func() iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			if yield("first", nil) && yield("second", nil) {
				yield("", flyrpc.Errorf(flyrpc.Conflict, "the file has changed"))
			}
		}
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	for line, err := range flyrpc.Receive[string](context.Background(), cli, "/lines", nil) {
		if err != nil {
			fmt.Println(err, errors.Is(err, flyrpc.Conflict))
			break
		}
		fmt.Println(line)
	}
	// Output:
	// first
	// second
	// CONFLICT: the file has changed true
}

// A handler that takes a sequence is called with Upload: many items go, one reply comes.
func ExampleUpload() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/sum", func(numbers iter.Seq2[int, error]) (int, error) {
		sum := 0
		for n, err := range numbers {
			if err != nil {
				return 0, err // the caller has given up
			}
			sum += n
		}
		return sum, nil
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	sum, err := flyrpc.Upload[int](context.Background(), cli, "/sum", nil, slices.Values([]int{1, 2, 3, 4}))
	fmt.Println(sum, err)
	// Output: 10 <nil>
}

// Exchange sends a sequence and receives another at the same time.
func ExampleExchange() {
	srv := flyrpc.NewServer(nil)
	// A handler that takes a sequence and returns one is a filter. The message comes beside the items.
	srv.OnMessage("/find", func(word string, lines iter.Seq2[string, error]) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for line, err := range lines {
				if (err != nil || strings.Contains(line, word)) && !yield(line, err) {
					return
				}
			}
		}
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	lines := slices.Values([]string{"all is well", "the disk is full", "all is well", "the disk is gone"})
	for line, err := range flyrpc.Exchange[string, string](context.Background(), cli, "/find", "disk", lines) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
	}
	// Output:
	// the disk is full
	// the disk is gone
}

// A stream is the explicit form, for a talk in which one's words depend on the other's.
func ExampleStream() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/guess", func(secret int, s *flyrpc.Stream) error {
		for {
			var n int
			if err := s.Recv(&n); err == io.EOF {
				return nil // the caller has called CloseSend
			} else if err != nil {
				return err
			}
			answer := "right"
			switch {
			case n < secret:
				answer = "more"
			case n > secret:
				answer = "less"
			}
			if err := s.Send(answer); err != nil {
				return err
			}
		}
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	s, err := cli.OpenStream(context.Background(), "/guess", 42)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close() // gives up, unless Recv has returned io.EOF by then
	low, high, answer := 1, 100, ""
	for answer != "right" {
		n := (low + high) / 2
		if err := s.Send(n); err != nil {
			log.Fatal(err)
		}
		if err := s.Recv(&answer); err != nil {
			log.Fatal(err)
		}
		fmt.Println(n, answer)
		switch answer {
		case "more":
			low = n + 1
		case "less":
			high = n - 1
		}
	}
	_ = s.CloseSend()
	fmt.Println(s.Recv(nil))
	// Output:
	// 50 less
	// 25 more
	// 37 more
	// 43 less
	// 40 more
	// 41 more
	// 42 right
	// EOF
}

// The server opens streams too: here a handler asks the client that is calling it.
func ExampleConn_OpenStream() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/backup", func(ctx *flyrpc.Context) (string, error) {
		s, err := ctx.Conn().OpenStream(ctx, "/files", nil)
		if err != nil {
			return "", err
		}
		defer s.Close()
		var names []string
		for {
			var name string
			if err := s.Recv(&name); err == io.EOF {
				return "saved " + strings.Join(names, " and "), nil
			} else if err != nil {
				return "", err
			}
			names = append(names, name)
		}
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()
	cli.OnMessage("/files", func(s *flyrpc.Stream) error {
		return errors.Join(s.Send("notes"), s.Send("photos"))
	})

	fmt.Println(flyrpc.Call[string](context.Background(), cli, "/backup", nil))
	// Output: saved notes and photos <nil>
}

// A handler with a sequence can take its time: the context lives until the sequence has ended.
func ExampleMessageHandler_sequence() {
	srv := flyrpc.NewServer(nil)
	ended := make(chan error, 1)
	srv.OnMessage("/ticks", func(ctx *flyrpc.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := 0; yield(n, nil); n++ {
			}
			ended <- ctx.Err()
		}
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	for n, err := range flyrpc.Receive[int](context.Background(), cli, "/ticks", nil) {
		if n == 2 || err != nil {
			break
		}
	}
	fmt.Println("the handler:", <-ended)
	// Output: the handler: context canceled
}

// A handler that takes an io.Reader is called with an io.Reader as the message. It reads as the
// bytes come, so their number doesn't matter.
func ExampleMessageHandler_readerIn() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/checksum", func(r io.Reader) (uint32, error) {
		sum := crc32.NewIEEE()
		_, err := io.Copy(sum, r)
		return sum.Sum32(), err
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	file := strings.NewReader(strings.Repeat("all is well\n", 1_000_000))
	sum, err := flyrpc.Call[uint32](context.Background(), cli, "/checksum", file)
	fmt.Printf("%08x %v\n", sum, err)
	// Output: 5d07ba45 <nil>
}

// A handler that returns an io.Reader is called with an io.ReadCloser as the reply. Closing
// it early cancels the handler, and closes the handler's reader if that is an io.Closer.
func ExampleMessageHandler_readerOut() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/log", func(lines int) (io.Reader, error) {
		return strings.NewReader(strings.Repeat("all is well\n", lines)), nil
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	file, err := flyrpc.Call[io.ReadCloser](context.Background(), cli, "/log", 1_000_000)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	n, err := io.Copy(io.Discard, file)
	fmt.Println(n, "bytes,", err)
	// Output: 12000000 bytes, <nil>
}

// A reader that has a name goes by OpenStream: the message says what comes, Send sends it.
func ExampleStream_Send() {
	type upload struct{ Name string }
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/files/put", func(u *upload, r io.Reader) (string, error) {
		n, err := io.Copy(io.Discard, r)
		return fmt.Sprintf("%s has %d bytes", u.Name, n), err
	})
	cli := connect(srv, nil)
	defer srv.Close()
	defer cli.Close()

	s, err := cli.OpenStream(context.Background(), "/files/put", upload{"notes"})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(strings.NewReader("all is well")); err != nil && err != io.EOF {
		log.Fatal(err)
	}
	_ = s.CloseSend()
	var stored string
	err = s.Recv(&stored) // the reply
	fmt.Println(stored, err)
	// Output: notes has 11 bytes <nil>
}
