package flyrpc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchPair connects a client to a server over TCP on loopback.
func benchPair(b *testing.B, register func(*Server), opts *ClientOpts) (*Client, []*Conn) {
	srv := NewServer(nil)
	register(srv)
	l := benchListen(b)
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	cli, err := Dial(context.Background(), l.Addr().String(), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cli.Close() })
	if _, err := cli.Ping(0, time.Minute); err != nil {
		b.Fatal(err)
	}
	return cli, []*Conn{cli.Conn(), srv.Conns()[0]}
}

// BenchmarkItems measures items of one message, about 64 bytes, on one stream, beside the calls of 128 callers
// with the same message.
func BenchmarkItems(b *testing.B) {
	b.Run("calls", func(b *testing.B) { benchTyped(b, 128) })
	m := newBenchMessage()
	handlers := func(s *Server) {
		s.OnMessage("/seq", func(n int) iter.Seq2[*benchMessage, error] {
			return func(yield func(*benchMessage, error) bool) {
				for range n {
					if !yield(m, nil) {
						return
					}
				}
			}
		})
		s.OnMessage("/stream", func(n int, s *Stream) error {
			for range n {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			return nil
		})
		s.OnMessage("/take", func(s *Stream) (n int, err error) {
			for ; ; n++ {
				var m benchMessage
				if err := s.Recv(&m); err == io.EOF {
					return n, nil
				} else if err != nil {
					return 0, err
				}
			}
		})
		s.OnMessage("/takeseq", func(items iter.Seq2[*benchMessage, error]) (n int, err error) {
			for _, err := range items {
				if err != nil {
					return 0, err
				}
				n++
			}
			return n, nil
		})
	}
	for _, path := range []string{"/seq", "/stream"} {
		b.Run("receive"+path, func(b *testing.B) {
			cli, conns := benchPair(b, handlers, nil)
			measureItems(b, conns, func() error {
				n := 0
				for _, err := range Receive[benchMessage](context.Background(), cli, path, b.N) {
					if err != nil {
						return err
					}
					n++
				}
				return wantCount(n, b.N)
			})
		})
	}
	for _, path := range []string{"/takeseq", "/take"} {
		b.Run("upload"+path, func(b *testing.B) {
			cli, conns := benchPair(b, handlers, nil)
			measureItems(b, conns, func() error {
				n, err := Upload[int](context.Background(), cli, path, nil, repeat(m, b.N))
				if err != nil {
					return err
				}
				return wantCount(n, b.N)
			})
		})
	}
}

// repeat yields v n times.
func repeat[T any](v T, n int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for range n {
			if !yield(v) {
				return
			}
		}
	}
}

func wantCount(got, want int) error {
	if got != want {
		return fmt.Errorf("got %d items, want %d", got, want)
	}
	return nil
}

// measureItems measures f, which moves b.N items.
func measureItems(b *testing.B, conns []*Conn, f func() error) {
	b.ReportAllocs()
	calls, bytes := writeCalls(conns), writtenBytes(conns)
	b.ResetTimer()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
	b.ReportMetric(float64(writeCalls(conns)-calls)/float64(b.N), "writes/op")
	b.ReportMetric(float64(writtenBytes(conns)-bytes)/float64(b.N), "wire-B/op")
}

// writtenBytes returns the bytes of packets that connections have written so far.
func writtenBytes(conns []*Conn) (n uint64) {
	for _, c := range conns {
		c.proto.out.mu.Lock()
		n += c.proto.out.written
		c.proto.out.mu.Unlock()
	}
	return n
}

// BenchmarkBulk measures what one stream moves in items of 64 KiB, as []byte and through io.Reader, beside raw TCP
// in writes of 64 KiB, and large replies one after the other.
func BenchmarkBulk(b *testing.B) {
	const size = 64 << 10
	b.Run("raw", func(b *testing.B) { benchRawBulk(b, size) })
	handlers := func(s *Server) {
		item := bytes.Repeat([]byte{7}, size)
		s.OnMessage("/bytes", func(n int, s *Stream) error {
			for range n {
				if err := s.Send(item); err != nil {
					return err
				}
			}
			return nil
		})
		s.OnMessage("/reader", func(n int) io.Reader { return io.LimitReader(sevens{}, int64(n)*size) })
		s.OnMessage("/drain", func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) })
		large := bytes.Repeat([]byte{7}, 1<<20)
		s.OnMessage("/large", func() []byte { return large })
	}
	run := func(name string, f func(b *testing.B, cli *Client) error) {
		b.Run(name, func(b *testing.B) {
			cli, _ := benchPair(b, handlers, nil)
			b.SetBytes(size)
			b.ResetTimer()
			if err := f(b, cli); err != nil {
				b.Fatal(err)
			}
		})
	}
	run("items", func(b *testing.B, cli *Client) error {
		s, err := cli.OpenStream(context.Background(), "/bytes", b.N)
		for n := 0; err == nil; n++ {
			if err = s.Recv(nil); err == io.EOF {
				return wantCount(n, b.N)
			}
		}
		return err
	})
	run("reader", func(b *testing.B, cli *Client) error {
		r, err := Call[io.ReadCloser](context.Background(), cli, "/reader", b.N)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		if err == nil {
			err = wantCount(int(n), b.N*size)
		}
		return err
	})
	run("upload", func(b *testing.B, cli *Client) error {
		n, err := Call[int64](context.Background(), cli, "/drain", io.LimitReader(sevens{}, int64(b.N)*size))
		if err == nil {
			err = wantCount(int(n), b.N*size)
		}
		return err
	})
	run("replies-1MiB-8callers", func(b *testing.B, cli *Client) error {
		var wg sync.WaitGroup
		left := atomic.Int64{}
		left.Store(int64(b.N/16 + 1))
		var failed atomic.Value
		for range 8 {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if data, err := Call[[]byte](context.Background(), cli, "/large", nil); err != nil || len(data) != 1<<20 {
						failed.Store(fmt.Errorf("%d bytes, %w", len(data), err))
					}
				}
			})
		}
		wg.Wait()
		err, _ := failed.Load().(error)
		return err
	})
}

// sevens reads as sevens.
type sevens struct{}

func (sevens) Read(p []byte) (int, error) { return len(p), nil }

func benchRawBulk(b *testing.B, size int) {
	l := benchListen(b)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, size)
		for range b.N {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetBytes(int64(size))
	b.ResetTimer()
	buf := make([]byte, size)
	if n, err := io.CopyBuffer(onlyWriter{}, struct{ io.Reader }{c}, buf); int(n) != b.N*size || err != nil {
		b.Fatal(n, err)
	}
}

// onlyWriter drops what is written, without io.Discard's own way of reading.
type onlyWriter struct{}

func (onlyWriter) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkCallsBesideTransfer measures how long a 64-byte call takes, at the 99th percentile, alone and while
// 256 MiB are on their way on the same connection: as one stream of a reader, as one message, and as replies of 4 MiB one
// after the other; and how fast the transfer is, alone and beside the calls. The percentiles are those of the calls of all
// rounds together; a round alone has too few calls: -benchtime 10x makes 10.
func BenchmarkCallsBesideTransfer(b *testing.B) {
	const total = 256 << 20
	large := make([]byte, total)
	handlers := func(s *Server) {
		s.OnMessage("/echo", func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil })
		s.OnMessage("/reader", func(n int) io.Reader { return io.LimitReader(sevens{}, int64(n)) })
		s.OnMessage("/large", func(n int) []byte { return large[:n] })
	}
	messages := func(cli *Client, size int) error {
		for range total / size {
			if data, err := Call[[]byte](context.Background(), cli, "/large", size); err != nil || len(data) != size {
				return fmt.Errorf("%d bytes, %w", len(data), err)
			}
		}
		return nil
	}
	transfers := map[string]func(cli *Client) error{
		"reader": func(cli *Client) error {
			r, err := Call[io.ReadCloser](context.Background(), cli, "/reader", total)
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, r)
			if err == nil {
				err = wantCount(int(n), total)
			}
			return err
		},
		"message": func(cli *Client) error { return messages(cli, total) },
		"4MiB":    func(cli *Client) error { return messages(cli, 4<<20) },
	}
	for _, name := range []string{"reader", "message", "4MiB"} {
		b.Run(name, func(b *testing.B) { benchBeside(b, handlers, total, transfers[name]) })
	}
}

// benchBeside measures calls alone and beside a transfer of total bytes, and the transfer alone and beside the calls.
func benchBeside(b *testing.B, handlers func(*Server), total int, transfer func(*Client) error) {
	cli, _ := benchPair(b, handlers, &ClientOpts{MaxMessage: total})
	var alone, beside, speedAlone, speedBeside []float64
	timed := func() float64 {
		begin := time.Now()
		if err := transfer(cli); err != nil {
			b.Error(err)
		}
		return float64(total) / time.Since(begin).Seconds() / (1 << 20)
	}
	for range b.N {
		alone = append(alone, latencies(b, cli, 3000, nil)...)
		speedAlone = append(speedAlone, timed())
		done := make(chan struct{})
		go func() {
			defer close(done)
			speedBeside = append(speedBeside, timed())
		}()
		beside = append(beside, latencies(b, cli, 1<<30, done)...)
	}
	b.ReportMetric(p99(alone), "p99-alone-us")
	b.ReportMetric(p99(beside), "p99-beside-us")
	b.ReportMetric(p99(beside)/p99(alone), "p99-ratio")
	b.ReportMetric(median(speedAlone), "MiB/s-alone")
	b.ReportMetric(median(speedBeside)/median(speedAlone), "speed-ratio")
}

// latencies returns what calls take that are made one after the other, in microseconds: n, or until done.
func latencies(b *testing.B, cli *Client, n int, done <-chan struct{}) (took []float64) {
	m, ctx := newBenchMessage(), context.Background()
	for range n {
		select {
		case <-done:
			return took
		default:
		}
		begin := time.Now()
		var reply benchMessage
		if err := cli.Call(ctx, "/echo", m, &reply); err != nil || reply.ID != m.ID {
			b.Fatal(reply, err)
		}
		took = append(took, float64(time.Since(begin).Nanoseconds())/1000)
	}
	return took
}

// p99 returns the 99th percentile.
func p99(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)*99/100]
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkUnreadStream measures the items of 999 streams on a connection on which one more stream is read, or isn't.
func BenchmarkUnreadStream(b *testing.B) {
	m := newBenchMessage()
	for _, unread := range []int{0, 1} {
		b.Run(fmt.Sprintf("unread=%d", unread), func(b *testing.B) {
			cli, conns := benchPair(b, func(s *Server) {
				s.OnMessage("/stream", func(n int, s *Stream) error {
					for range n {
						if err := s.Send(m); err != nil {
							return err
						}
					}
					return nil
				})
			}, nil)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if unread == 1 {
				if _, err := cli.OpenStream(ctx, "/stream", 1<<30); err != nil {
					b.Fatal(err)
				}
			}
			const streams = 999
			measureItems(b, conns, func() error {
				var wg sync.WaitGroup
				for i := range streams + 1 - unread {
					wg.Go(func() {
						n := b.N / streams
						if i < b.N%streams {
							n++
						}
						for _, err := range Receive[benchMessage](ctx, cli, "/stream", n) {
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				return nil
			})
		})
	}
}
