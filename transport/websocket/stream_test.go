package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// A deadline may end a Read wherever the bytes have got to, and the next one goes on.
func TestReadDeadlineAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, s := peer(t)
		var sent []byte
		sent = append(sent, frame(0x02, "hello ")...)
		sent = append(sent, frame(0x89, "ping")...)
		sent = append(sent, frame(0x80, strings.Repeat("x", 200))...)
		sent = append(sent, frame(0x82, "")...)
		sent = append(sent, frame(0x82, "!")...)
		var got []byte
		read := func() {
			_ = s.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 1000)
			n, err := s.Read(b)
			if got = append(got, b[:n]...); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read: %v", err)
			}
		}
		for i := range sent {
			read()
			mustWrite(t, nc, sent[i:i+1])
		}
		read()
		if want := "hello " + strings.Repeat("x", 200) + "!"; string(got) != want {
			t.Errorf("%q", got)
		}
		if first, text := readFrame(t, nc); first != 0x8A || text != "ping" {
			t.Errorf("the ping was answered %#x %q", first, text)
		}
	})
}

func TestReadTextDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, s := peer(t)
		sent := append(frame(0x01, "hello "), frame(0x80, "world")...)
		for i := range sent {
			_ = s.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := s.ReadText(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("ReadText: %v", err)
			}
			mustWrite(t, nc, sent[i:i+1])
		}
		_ = s.SetReadDeadline(time.Time{})
		if text, err := s.ReadText(); string(text) != "hello world" || err != nil {
			t.Errorf("ReadText: %q, %v", text, err)
		}
	})
}

func TestTextErrors(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		code int
		text string
	}{
		"no UTF-8": {frame(0x81, "\xff"), CloseBadText, "no UTF-8"},
		"too long": {appendHead(nil, opText, DefaultReadLimit+1, true, [4]byte{}), CloseTooLong, "at most"},
		"binary":   {append(frame(0x81, "x"), frame(0x82, "x")...), CloseBadKind, "the first one was a text"},
	} {
		nc, s := peer(t)
		mustWrite(t, nc, c.sent)
		var err error
		for err == nil {
			_, err = s.ReadText()
		}
		var e *CloseError
		if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if _, again := s.ReadText(); again != err {
			t.Errorf("%s: a second ReadText: %v", name, again)
		}
	}
}

// What ReadText finds to be binary is left to Read.
func TestReadTextOfBinary(t *testing.T) {
	nc, s := peer(t)
	mustWrite(t, nc, append(frame(0x82, "bytes"), frame(0x82, "more")...))
	for range 2 {
		if _, err := s.ReadText(); err != ErrBinary {
			t.Fatalf("ReadText: %v", err)
		}
	}
	wantBytes(t, s, []byte("bytesmore"))
}

// Bytes that are written together by StartMessage are one message.
func TestStartMessage(t *testing.T) {
	nc, s := peer(t)
	go func() {
		s.StartMessage(6)
		for _, part := range []string{"a", "bc", "", "def"} {
			_, _ = s.Write([]byte(part))
		}
		_, _ = s.Write([]byte("alone"))
		s.StartMessage(-1)
		_, _ = s.Write(make([]byte, maxMessage+1))
	}()
	for _, want := range []string{"abcdef", "alone", string(make([]byte, maxMessage)), "\x00"} {
		if first, text := readFrame(t, nc); first != 0x82 || text != want {
			t.Errorf("a message of %d bytes, want one of %d", len(text), len(want))
		}
	}
}

// Where the other end takes little at a time, writes go on where they ended, and pings are answered in between.
func TestInterruptedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := transport.Pipe(&transport.PipeOptions{Buffer: 3})
		c, s := over(t, a, true), over(t, b, false)
		want := random(2000)
		go func() {
			for sent := 0; sent < len(want); {
				_ = c.SetWriteDeadline(time.Now().Add(time.Second))
				n, err := c.Write(want[sent:])
				if sent += n; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write: %v", err)
					return
				}
			}
		}()
		var got []byte
		buf := make([]byte, 10)
		for len(got) < len(want) {
			time.Sleep(1100 * time.Millisecond)
			n, err := s.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Error("other bytes arrived")
		}
	})
}

// A text that was half sent can't be followed by anything.
func TestInterruptedText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := transport.Pipe(&transport.PipeOptions{Buffer: 3})
		_, s := over(t, a, true), over(t, b, false)
		_ = s.SetWriteDeadline(time.Now().Add(time.Second))
		err := s.WriteText([]byte("hello world"))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("WriteText: %v", err)
		}
		_ = s.SetWriteDeadline(time.Time{})
		if _, again := s.Write([]byte("x")); again != err {
			t.Errorf("Write: %v", again)
		}
		if err := s.CloseWrite(); err == nil {
			t.Error("CloseWrite succeeded")
		}
	})
}

func TestTextAmidMessage(t *testing.T) {
	_, s := peer(t)
	s.StartMessage(10)
	mustWrite(t, s, []byte("x"))
	if err := s.WriteText([]byte("x")); !errors.Is(err, errHalfSent) {
		t.Errorf("WriteText: %v", err)
	}
}

// A ping that comes amid a message is answered behind it.
func TestPingAmidMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, s := peer(t)
		s.StartMessage(4)
		mustWrite(t, s, []byte("ab"))
		go func() { _, _ = io.Copy(io.Discard, s) }()
		mustWrite(t, nc, append(frame(0x89, "first"), frame(0x89, "second")...))
		synctest.Wait()
		mustWrite(t, s, []byte("cd"))
		if _, text := readFrame(t, nc); text != "abcd" {
			t.Errorf("the message is %q", text)
		}
		if first, text := readFrame(t, nc); first != 0x8A || text != "second" {
			t.Errorf("behind it came %#x %q", first, text)
		}
		s.Close()
	})
}

// The reader never waits for a pong to be written.
func TestPingsUnanswered(t *testing.T) {
	a, b := transport.Pipe(&transport.PipeOptions{Buffer: 200})
	t.Cleanup(func() { a.Close() })
	s := over(t, b, false)
	go func() {
		for range 1000 {
			_, _ = a.Write(frame(0x89, strings.Repeat("x", 100)))
		}
		_, _ = a.Write(frame(0x82, "behind"))
	}()
	wantBytes(t, s, []byte("behind"))
}

func TestHalfClose(t *testing.T) {
	c, s := pair(t)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write: %v", err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Errorf("a second CloseWrite: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v", err)
	}
	mustWrite(t, s, []byte("answer"))
	wantBytes(t, c, []byte("answer"))
	c.Close()
	if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("CloseWrite after Close: %v", err)
	}
	if _, err := c.ReadText(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadText after Close: %v", err)
	}
	if err := c.WriteText(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteText after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// Closing tries for a second to tell an end that reads nothing.
func TestCloseOfStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := transport.Pipe(&transport.PipeOptions{Buffer: 1})
		t.Cleanup(func() { a.Close() })
		for _, end := range []func(*Conn) error{(*Conn).Close, (*Conn).CloseWrite} {
			s := over(t, b, false)
			begun := time.Now()
			_ = end(s)
			if took := time.Since(begun); took > closeWait {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// The view of the socket: a silent connection takes no buffer, and control frames don't count as something.
func TestSocket(t *testing.T) {
	u, conns := accepting(t, nil)
	c, err := Transport{}.Dial(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := <-conns
	defer s.Close()
	socket, ok := transport.SocketOf(s)
	if !ok || socket.Raw() == nil {
		t.Fatal("there is no Socket over TCP")
	}
	taken := 0
	buf := make([]byte, 1000)
	get := func() []byte { taken++; return buf }
	put := func([]byte) { taken-- }
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, _, err := socket.Read(get, put); !errors.Is(err, os.ErrDeadlineExceeded) || taken != 0 {
		t.Errorf("Read: %v, and %d buffers are taken", err, taken)
	}
	_ = s.SetReadDeadline(time.Time{})
	if n, err := socket.TryWrite([]byte("tried")); n != 5 || err != nil {
		t.Errorf("TryWrite: %d, %v", n, err)
	}
	wantBytes(t, c, []byte("tried"))
	ws := c.(*Conn)
	ws.writeMu.Lock()
	_ = ws.control(opPing, []byte("x"))
	ws.writeMu.Unlock()
	mustWrite(t, c, []byte("hello"))
	if err := socket.WaitReadable(); err != nil {
		t.Error(err)
	}
	b, n, err := socket.Read(get, put)
	if err != nil || string(b[:n]) != "hello" || taken != 1 {
		t.Errorf("Read: %q, %v, and %d buffers are taken", b[:n], err, taken)
	}
	c.(*Conn).SetClose(4000, "enough")
	c.Close()
	_, _, err = socket.Read(get, put)
	var e *CloseError
	if !errors.As(err, &e) || e.Code != 4000 || taken != 1 {
		t.Errorf("Read at the end: %v, and %d buffers are taken", err, taken)
	}
	s.Trim()
	s.Close()
	if _, err := socket.TryWrite([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("TryWrite: %v", err)
	}
}

// A message that TryWrite could take only a part of is one message, whatever writes the rest.
func TestTryWriteParts(t *testing.T) {
	u, conns := accepting(t, nil)
	c, err := Transport{}.Dial(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := <-conns
	defer s.Close()
	for _, ends := range [][2]*Conn{{s, c.(*Conn)}, {c.(*Conn), s}} {
		socket, _ := ends[0].Socket()
		sent := random(16 << 20)
		ends[1].SetReadLimit(len(sent))
		ends[0].StartMessage(len(sent))
		total := 0
		for {
			n, err := socket.TryWrite(sent[total:])
			if err != nil {
				t.Fatal(err)
			}
			if total += n; n == 0 {
				break
			}
		}
		written := inBackground(func() error { _, err := ends[0].Write(sent[total:]); return err })
		wantBytes(t, ends[1], sent)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if ends[1].in.amid() {
			t.Error("it was more than one message, or less")
		}
	}
}

func TestUpgradeOverPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := transport.Pipe(nil)
		defer b.Close()
		u, _ := transport.ParseAddr("ws://nobody/")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (Transport{}).Upgrade(ctx, a, u); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that says nothing: %v", err)
		}
		a, b = transport.Pipe(nil)
		defer b.Close()
		_, err := Transport{HandshakeTimeout: time.Minute}.Upgrade(t.Context(), a, u)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "within 1m0s") {
			t.Errorf("a server that says nothing: %v", err)
		}
	})
}
