package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/go-flyrpc/flyrpc/transport"
)

// pair returns the two ends of a WebSocket over a pipe, without an upgrade.
func pair(t *testing.T) (client, server *Conn) {
	t.Helper()
	a, b := transport.Pipe(nil)
	return over(t, a, true), over(t, b, false)
}

// over returns an end of a WebSocket over nc.
func over(t *testing.T, nc net.Conn, client bool) *Conn {
	t.Helper()
	c := newConn(nc, client, nil, 0, nil)
	t.Cleanup(func() { c.Close(); nc.Close() })
	return c
}

// peer is the other end of a server's connection, as bytes.
func peer(t *testing.T) (nc net.Conn, server *Conn) {
	t.Helper()
	a, b := transport.Pipe(nil)
	t.Cleanup(func() { a.Close() })
	return a, over(t, b, false)
}

// frame returns a client's frame, whose first byte is given.
func frame(first byte, payload string) []byte {
	mask := [4]byte{1, 2, 3, 4}
	b := appendHead(nil, 0, len(payload), true, mask)
	b[0] = first
	b = append(b, payload...)
	xor(b[len(b)-len(payload):], mask, 0)
	return b
}

// readFrame reads a server's frame.
func readFrame(t *testing.T, r io.Reader) (first byte, payload string) {
	t.Helper()
	h := make([]byte, 2)
	mustRead(t, r, h)
	size := int(h[1])
	switch size {
	case 126:
		b := make([]byte, 2)
		mustRead(t, r, b)
		size = int(binary.BigEndian.Uint16(b))
	case 127:
		b := make([]byte, 8)
		mustRead(t, r, b)
		size = int(binary.BigEndian.Uint64(b))
	}
	b := make([]byte, size)
	mustRead(t, r, b)
	return h[0], string(b)
}

func mustRead(t *testing.T, r io.Reader, b []byte) {
	t.Helper()
	if c, ok := r.(net.Conn); ok {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("reading %d bytes: %v", len(b), err)
	}
}

func mustWrite(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

// within returns a context for what should happen soon.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// serve serves requests and returns the URL to dial.
func serve(t *testing.T, h http.HandlerFunc) *url.URL {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse("ws" + strings.TrimPrefix(s.URL, "http") + "/mounted?x=1")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// accepting serves upgrades with opts and passes the connections on.
func accepting(t *testing.T, opts *AcceptOptions) (*url.URL, <-chan *Conn) {
	t.Helper()
	conns := make(chan *Conn, 16)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, opts); err == nil {
			conns <- c
		}
	})
	return u, conns
}

// gorillaClient is another implementation's client, connected to a Conn.
func gorillaClient(t *testing.T, d *gorilla.Dialer, opts *AcceptOptions) (*gorilla.Conn, *Conn, *http.Response) {
	t.Helper()
	u, conns := accepting(t, opts)
	c, resp, err := d.DialContext(within(t), u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := <-conns
	t.Cleanup(func() { s.Close() })
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c, s, resp
}

// random returns n bytes that are the same each time.
func random(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// wantBytes reads exactly want.
func wantBytes(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	mustRead(t, r, got)
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes arrived as others", len(want))
	}
}

// inBackground runs f in a goroutine.
func inBackground(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}
