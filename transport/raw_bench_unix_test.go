//go:build unix

package transport

import (
	"io"
	"net"
	"testing"
)

// Each benchmark moves packets of 512 bytes from one end of a TCP connection to
// the other, with one write and one read each, in one goroutine.
const benchSize = 512

func BenchmarkSocket(b *testing.B) {
	for _, c := range []struct {
		name string
		pair makePair
	}{{"tcp", tcpPair}, {"unix", unixPair}} {
		b.Run(c.name+"/net.Conn", func(b *testing.B) { benchConn(b, c.pair) })
		b.Run(c.name+"/RawConn", func(b *testing.B) { benchRaw(b, c.pair) })
	}
}

func benchConn(b *testing.B, pair makePair) {
	w, r := pair(b)
	data, buf := make([]byte, benchSize), make([]byte, benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRaw(b *testing.B, pair makePair) {
	x, y := pair(b)
	w, r := rawOf(b, x), rawOf(b, y)
	data, buf := make([]byte, benchSize), make([]byte, benchSize)
	get, put := func() []byte { return buf }, func([]byte) {}
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.TryWrite(data); err != nil {
			b.Fatal(err)
		}
		if _, _, err := r.Read(get, put); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite is the writing alone, to a peer that discards.
func BenchmarkWrite(b *testing.B) {
	b.Run("net.Conn", func(b *testing.B) {
		w := discardPeer(b)
		benchWrite(b, w.Write)
	})
	b.Run("RawConn", func(b *testing.B) {
		w := discardPeer(b)
		raw := rawOf(b, w)
		benchWrite(b, func(p []byte) (int, error) {
			n, err := raw.TryWrite(p)
			if err == nil && n < len(p) {
				_, err = w.Write(p[n:])
			}
			return n, err
		})
	})
}

func discardPeer(b *testing.B) net.Conn {
	w, r := tcpPair(b)
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return w
}

func benchWrite(b *testing.B, write func([]byte) (int, error)) {
	data := make([]byte, benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := write(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEcho is a round trip with another goroutine, which waits for each
// packet: the reads here do block.
func BenchmarkEcho(b *testing.B) {
	b.Run("net.Conn", func(b *testing.B) {
		x, y := tcpPair(b)
		go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{y}, struct{ io.Reader }{y}, make([]byte, benchSize)) }()
		data, buf := make([]byte, benchSize), make([]byte, benchSize)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = x.Write(data)
			if _, err := x.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RawConn", func(b *testing.B) {
		x, y := tcpPair(b)
		go echoRaw(rawOf(b, y))
		raw, data, buf := rawOf(b, x), make([]byte, benchSize), make([]byte, benchSize)
		get, put := func() []byte { return buf }, func([]byte) {}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = raw.TryWrite(data)
			if _, _, err := raw.Read(get, put); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func echoRaw(r *RawConn) {
	buf := make([]byte, benchSize)
	get, put := func() []byte { return buf }, func([]byte) {}
	for {
		p, n, err := r.Read(get, put)
		if err != nil {
			return
		}
		_, _ = r.TryWrite(p[:n])
	}
}
