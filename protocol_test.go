package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

func ExampleProtocol() {
	near, far := transport.Pipe(nil)
	a, b := NewProtocol(near, nil), NewProtocol(far, nil)
	defer a.Close()
	defer b.Close()

	err := a.WritePacket(context.Background(), &Packet{Flag: FlagWait, Sequence: 1, Code: "/user/get", Payload: []byte(`{"ID":7}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := b.ReadPacket()
	fmt.Println(p.Code, p.Sequence, string(p.Payload), err)
	// Output: /user/get 1 {"ID":7} <nil>
}

func ExampleAppendPacket() {
	b, err := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 1, Code: "hello", Payload: []byte("Ada")})
	fmt.Printf("%x %v\n", b, err)
	// Output: 40000168656c6c6f0003416461 <nil>
}

func ExampleParsePacket() {
	data := []byte("\x40\x00\x01hello\x00\x03Ada and what follows")
	p, n, err := ParsePacket(data, 1<<20)
	fmt.Println(p.Code, string(p.Payload), err)
	fmt.Printf("%q\n", data[n:])
	_, _, err = ParsePacket(data[:10], 1<<20)
	fmt.Println(err == ErrShortPacket)
	// Output:
	// hello Ada <nil>
	// " and what follows"
	// true
}

// protocols runs a test over a pipe and over TCP.
func protocols(t *testing.T, opts *ProtocolOpts, f func(t *testing.T, a, b *Protocol)) {
	for _, c := range []struct {
		name string
		open func() (net.Conn, net.Conn)
	}{
		{"memory", func() (net.Conn, net.Conn) { return transport.Pipe(nil) }},
		{"TCP", func() (net.Conn, net.Conn) { return tcpPair(t) }},
		{"without TryWrite", func() (net.Conn, net.Conn) { return net.Pipe() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := c.open()
			a, b := NewProtocol(near, opts), NewProtocol(far, opts)
			defer a.Close()
			defer b.Close()
			f(t, a, b)
		})
	}
}

// TestProtocolGoldens sends the golden packets through a Protocol, those that are malformed from
// outside. It stays usable.
func TestProtocolGoldens(t *testing.T) {
	protocols(t, nil, func(t *testing.T, a, b *Protocol) {
		list := goldens(t)
		sent := make(chan error, 1)
		go func() {
			for _, g := range list {
				if !g.canonical() {
					continue
				}
				p := g.packet(t)
				if err := a.WritePacket(context.Background(), &p); err != nil {
					sent <- err
					return
				}
				clear(p.Payload) // the bytes were copied
				clear(p.Meta)
			}
			sent <- nil
		}()
		for _, g := range list {
			if !g.canonical() {
				continue
			}
			p, err := b.ReadPacket()
			if err != nil {
				t.Fatalf("%s: %v", g.Name, err)
			}
			if diff := samePacket(p, g.packet(t)); diff != "" {
				t.Errorf("%s: %s", g.Name, diff)
			}
		}
		if err := within(t, sent); err != nil {
			t.Error(err)
		}
	})
}

// TestProtocolUsable checks the errors after which the next packet can be read.
func TestProtocolUsable(t *testing.T) {
	stream := runs(t, "41 0001 6f766572 00 0101 aa*257  50 0002 626164 00 02 02 04  50 0003 6d616e79 00 84 8201"+strings.Repeat(" 0500", 65)+
		" 40 0004 66696e65 00 01 07")
	near, far := transport.Pipe(nil)
	defer near.Close()
	p := NewProtocol(far, &ProtocolOpts{MaxFrame: 256})
	defer p.Close()
	if _, err := near.Write(stream); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want Packet
		err  error
	}{
		{Packet{Flag: FlagWait, Sequence: 1, Code: "over"}, ErrLongPayload},
		{Packet{Flag: FlagWait | FlagMeta, Sequence: 2, Code: "bad"}, ErrBadMeta},
		{Packet{Flag: FlagWait | FlagMeta, Sequence: 3, Code: "many"}, ErrBadMeta},
		{Packet{Flag: FlagWait, Sequence: 4, Code: "fine", Payload: []byte{7}}, nil},
	} {
		got, err := p.ReadPacket()
		if !errors.Is(err, c.err) || err == nil && c.err != nil {
			t.Fatalf("%s: %v, want %v", c.want.Code, err, c.err)
		}
		if diff := samePacket(got, c.want); diff != "" {
			t.Errorf("%s: %s", c.want.Code, diff)
		}
	}
	near.CloseWrite()
	if got, err := p.ReadPacket(); err != io.EOF || samePacket(got, Packet{}) != "" {
		t.Errorf("at the end %+v, %v", got, err)
	}
}

// TestProtocolRefuses checks what isn't sent; what is sent next arrives.
func TestProtocolRefuses(t *testing.T) {
	protocols(t, nil, func(t *testing.T, a, b *Protocol) {
		ctx := context.Background()
		if err := a.WritePacket(ctx, &Packet{Code: strings.Repeat("a", maxCodeLen+1)}); !errors.Is(err, ErrLongCode) {
			t.Errorf("a long code: %v", err)
		}
		if err := a.WritePacket(ctx, &Packet{Code: "a\x00"}); err == nil {
			t.Error("a zero byte in the code is sent")
		}
		if err := a.WritePacket(ctx, &Packet{Meta: make([]byte, maxMetaLen+1)}); !errors.Is(err, ErrBadMeta) {
			t.Errorf("long metadata: %v", err)
		}
		if err := a.WritePacket(ctx, &Packet{Flag: FlagMeta | 3, Code: "next"}); err != nil {
			t.Error(err)
		}
		if p, err := b.ReadPacket(); err != nil || p.Code != "next" || p.Flag != 0 {
			t.Errorf("next: %+v, %v", p, err)
		}
	})
}

// TestProtocolConcurrent has many write at both ends while both read.
func TestProtocolConcurrent(t *testing.T) {
	protocols(t, &ProtocolOpts{MaxQueued: 50 << 10}, func(t *testing.T, a, b *Protocol) {
		const senders, each = 6, 40
		var all sync.WaitGroup
		for _, p := range []*Protocol{a, b} {
			for k := range senders {
				all.Go(func() {
					for i := range each {
						n := 10 + (k*7919+i*104729)%40000
						pkt := Packet{Code: fmt.Sprintf("%d/%d/%d", k, i, n), Payload: numbered(k, i, n)}
						if err := p.WritePacket(context.Background(), &pkt); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Go(func() {
				var list []Packet
				for range senders * each {
					pkt, err := p.ReadPacket()
					if err != nil {
						t.Error(err)
						return
					}
					list = append(list, pkt) // which may be kept
				}
				checkNumbered(t, list, senders, each)
			})
		}
		all.Wait()
	})
}

// TestProtocolKeeps checks that packets that were read don't change when others are.
func TestProtocolKeeps(t *testing.T) {
	var stream []byte
	for i := range 100 {
		stream = append(stream, wireOf(t, &Packet{Code: fmt.Sprint(i), Meta: []byte{5, 0}, Payload: bytes.Repeat([]byte{byte(i)}, 2000)})...)
	}
	p := NewProtocol(&choppedConn{data: stream}, nil)
	defer p.own.workers.Close()
	var list []Packet
	for range 100 {
		pkt, err := p.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pkt)
	}
	for i, pkt := range list {
		if pkt.Code != fmt.Sprint(i) || !bytes.Equal(pkt.Payload, bytes.Repeat([]byte{byte(i)}, 2000)) || !bytes.Equal(pkt.Meta, []byte{5, 0}) {
			t.Errorf("packet %d has changed", i)
		}
	}
}

// TestProtocolClose checks that Close ends those who read and write, and may come twice.
func TestProtocolClose(t *testing.T) {
	protocols(t, &ProtocolOpts{MaxQueued: 1000}, func(t *testing.T, a, b *Protocol) {
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := a.ReadPacket(); err == nil {
				t.Error("a packet came")
			}
		})
		for range 3 {
			all.Go(func() {
				for { // nobody reads, so it has to wait at last
					if err := a.WritePacket(context.Background(), &Packet{Payload: make([]byte, 1<<20)}); err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Errorf("writing: %v", err)
						}
						return
					}
				}
			})
		}
		for { // until a writer waits
			a.out.mu.Lock()
			waits := a.out.space != nil
			a.out.mu.Unlock()
			if waits {
				break
			}
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		a.Close()
		all.Wait()
		if err := a.WritePacket(context.Background(), &Packet{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing after Close: %v", err)
		}
	})
}

// TestProtocolFails checks that a write that fails closes the connection.
func TestProtocolFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := transport.Pipe(&transport.PipeOptions{Buffer: 100})
		defer far.Close()
		p := NewProtocol(near, &ProtocolOpts{WriteTimeout: time.Second})
		defer p.Close()
		if err := p.WritePacket(context.Background(), &Packet{Payload: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ReadPacket(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading ends with %v", err)
		}
		if err := p.WritePacket(context.Background(), &Packet{}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing ends with %v", err)
		}
	})
}

// TestProtocolDefaults checks what nil and zero options mean.
func TestProtocolDefaults(t *testing.T) {
	for _, opts := range []*ProtocolOpts{nil, {}, {MaxFrame: -1, MaxQueued: -1, WriteTimeout: -1}} {
		p := NewProtocol(&choppedConn{}, opts)
		if p.in.max != DefaultMaxMessage || p.out.max != DefaultMaxQueued || p.out.timeout != DefaultWriteTimeout {
			t.Errorf("limits %d, %d, %v", p.in.max, p.out.max, p.out.timeout)
		}
		p.own.workers.Close()
	}
}

// TestProtocolContext checks that WritePacket waits while too much is queued, until its context ends.
func TestProtocolContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := transport.Pipe(&transport.PipeOptions{Buffer: 100})
		defer far.Close()
		p := NewProtocol(near, &ProtocolOpts{MaxQueued: 1000, WriteTimeout: time.Hour})
		defer p.Close()
		for range 2 { // one is being written, one queued
			if err := p.WritePacket(context.Background(), &Packet{Payload: make([]byte, 900)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		wantErr(t, p.WritePacket(ctx, &Packet{Payload: make([]byte, 900)}), Timeout, NotSent)
	})
}
