package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStreamOnLostConn: a stream opened while the connection ends fails, and doesn't wait for an answer that
// was given to the call before it was a stream.
func TestStreamOnLostConn(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, nil, nil, func(srv *Server, cli *Client) { streamHandlers(srv) })
			s, _, err := p.cc.calls.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p.up.Reset()
			<-p.cc.done
			synctest.Wait()
			if _, err := p.cc.streamOf(t.Context(), s); !errors.Is(err, Unavailable) {
				t.Error(err)
			}
			p.cc.calls.withdraw(s)
			wantEmpty(t, "client", p.cc)
		})
	}
}

// TestGuessedAnswer: a stream isn't opened with a sequence whose answer has come before it was sent.
func TestGuessedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := wireServe(t, nil, "")
		c := cli.Conn()
		s, _, err := c.calls.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.send(rawAnswer(s.seq, `7`))
		synctest.Wait()
		_, err = c.streamOf(t.Context(), s)
		wantFailed(t, err, Unavailable, NotSent)
		c.calls.withdraw(s)
		wantEmpty(t, "client", c)
	})
}

// TestClaimOfCanceled: a handler that goes on after its caller gave up within an item keeps no memory from others.
func TestClaimOfCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, goOn := make(chan error), make(chan struct{})
		p := newPair(t, &ServerOpts{StreamWindow: 4 << 10}, nil, func(srv *Server, cli *Client) {
			streamHandlers(srv)
			srv.OnMessage("/deaf", func(s *Stream) error {
				gone <- s.Recv(new([]byte))
				<-goOn
				return nil
			})
		})
		p.up.SetPartition(false)
		ctx, cancel := context.WithCancel(t.Context())
		s, err := p.cli.OpenStream(ctx, "/deaf", nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// a part of an item, and then the end of the call
		if err := s.sendPart(ctx, FlagStream, make([]byte, 1000), false, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		wantFailed(t, <-gone, Canceled, Unknown)
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if n, err := Call[int](short, p.cli, "/size", make([]byte, 100_000)); n != 100_000 || err != nil {
			t.Errorf("beside it: %d, %v", n, err)
		}
		close(goOn)
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestTinyWindowReader: a peer whose window takes hardly anything can't make sending a reader panic.
func TestTinyWindowReader(t *testing.T) {
	for _, fields := range []string{`,"window":64`, `,"window":66`, `,"window":70`, `,"frame":1`, `,"frame":3`} {
		bubble(t, fields, func(t *testing.T) {
			cli, w := wireServe(t, nil, fields)
			got := make(chan error, 1)
			go func() { got <- cli.Call(t.Context(), "/join", strings.NewReader("abc"), nil) }()
			var all []byte
			for {
				h, payload := w.recvHeader()
				if string(h.code) == endCode {
					break
				}
				if h.flag&FlagWait == 0 {
					all = append(all, payload...)
					w.send(creditFrame(fromCallee, h.seq, uint64(len(payload)+32)))
				}
			}
			w.send(rawAnswer(1<<15|1, ""))
			if err := <-got; err != nil || !bytes.HasSuffix(all, []byte("c")) {
				t.Errorf("%v, %q", err, all)
			}
		})
	}
}

// TestSendAfterReturn: a handler may return while a goroutine of its own still sends.
func TestSendAfterReturn(t *testing.T) {
	ended := make(chan error, 10)
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/leaves", func(s *Stream) error {
			sent := make(chan struct{}, 1)
			go func() {
				for {
					if err := s.Send("x"); err != nil {
						ended <- err
						return
					}
					select {
					case sent <- struct{}{}:
					default:
					}
				}
			}()
			<-sent
			return nil
		})
	})
	for range 5 {
		for _, err := range Receive[string](bounded(t), p.cli, "/leaves", nil) {
			if err != nil {
				t.Error(err)
			}
		}
		if err := await1(t, ended, "Send to end"); err != io.EOF && !errors.Is(err, Canceled) {
			t.Error(err)
		}
	}
	wantNothingLeft(t, "server", p.sc)
}

// TestSendStuckAtReturn is the same where the caller takes nothing, so that Send waits when the handler returns.
func TestSendStuckAtReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/leaves", func(s *Stream) error {
				go func() {
					for {
						if err := s.Send("x"); err != nil {
							ended <- err
							return
						}
					}
				}()
				time.Sleep(time.Second)
				return nil
			})
		})
		s, err := p.cli.OpenStream(t.Context(), "/leaves", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := await1(t, ended, "Send to end"); err != io.EOF && !errors.Is(err, Canceled) {
			t.Error(err)
		}
		s.Close()
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestLargeReplyToSender: a reply larger than the window reaches a caller that is still sending items which the
// handler, a *Stream's or io.Reader's, hasn't taken.
func TestLargeReplyToSender(t *testing.T) {
	p := newPair(t, &ServerOpts{StreamWindow: 4 << 10}, &ClientOpts{StreamWindow: 4 << 10}, func(srv *Server, cli *Client) {
		srv.OnMessage("/stream", func(s *Stream) []byte { return text(1, 100_000) })
		srv.OnMessage("/reader", func(r io.Reader) []byte { return text(1, 100_000) })
		srv.OnMessage("/seq", func(items iter.Seq2[int, error]) []byte {
			for range items {
				break
			}
			return text(1, 100_000)
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, path := range []string{"/stream", "/reader", "/seq"} {
		b, err := Upload[[]byte](ctx, p.cli, path, nil, slices.Values(make([]int, 10_000)))
		if !bytes.Equal(b, text(1, 100_000)) || err != nil {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
		b, err = Upload[[]byte](ctx, p.cli, path, nil, endless)
		if !bytes.Equal(b, text(1, 100_000)) || err != nil {
			t.Errorf("%s, endless: %d bytes, %v", path, len(b), err)
		}
	}
	wantNothingLeft(t, "server", p.sc)
}

// TestReaderAfterEnd: what a reader holds of an item isn't read any more once its stream has ended, as other
// streams may use its memory.
func TestReaderAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/letters", func(ctx *Context, letter string) (io.Reader, error) {
				return io.MultiReader(strings.NewReader(strings.Repeat(letter, 1000)), ctxReader{ctx}), nil
			})
		})
		for _, end := range []string{"ctx", "close"} {
			ctx, cancel := context.WithCancel(t.Context())
			a, err := Call[io.ReadCloser](ctx, p.cli, "/letters", "a")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := a.Read(make([]byte, 10)); n != 10 || err != nil {
				t.Fatal(n, err)
			}
			if end == "close" {
				a.Close()
			} else {
				cancel()
			}
			synctest.Wait()
			var others []io.ReadCloser
			for range 5 { // the pool may give the memory to any of them
				b, err := Call[io.ReadCloser](t.Context(), p.cli, "/letters", "b")
				if err != nil {
					t.Fatal(err)
				}
				others = append(others, b)
			}
			buf := make([]byte, 100)
			n, err := a.Read(buf)
			if bytes.Contains(buf[:n], []byte("b")) {
				t.Errorf("after %s: Read returns what belongs to another stream", end)
			}
			if !errors.Is(err, Canceled) {
				t.Errorf("after %s: Read returns %d, %v", end, n, err)
			}
			for _, b := range others {
				b.Close()
			}
			cancel()
		}
		wantNothingLeft(t, "client", p.cc)
	})
}

// ctxReader reads nothing until its context ends.
type ctxReader struct{ ctx context.Context }

func (r ctxReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

// TestOneWayToReader: a handler that may return a reader sends nothing for a one-way message.
func TestOneWayToReader(t *testing.T) {
	for name, handler := range map[string]any{
		"any":     func() any { return strings.NewReader("x") },
		"handler": func(*Context) (any, error) { return strings.NewReader("x"), nil },
		"reader":  func() io.Reader { return strings.NewReader("x") },
		"stream":  func(s *Stream) error { return s.Send("x") },
	} {
		bubble(t, name, func(t *testing.T) {
			srv := quietServer(t, nil)
			srv.OnMessage("/x", handler)
			w := wireHello(t, srv, "")
			w.send(Packet{Code: "/x"})
			synctest.Wait()
			w.wantAlive()
		})
	}
}

// TestClaimOfLongAnswer: an answer over the frame limit ends its call, and gives back the memory for its pieces.
func TestClaimOfLongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := wireServe(t, &ClientOpts{MaxFrame: 100}, "")
		for _, last := range []Packet{{Flag: FlagResponse, Payload: make([]byte, 101)}, {Flag: FlagResponse | FlagZipCode, Code: "x"}} {
			failed := make(chan error, 1)
			go func() { failed <- cli.Call(t.Context(), "/x", nil, nil) }()
			last.Sequence = w.recv().Sequence
			w.send(frameOfCall(fromCallee, last.Sequence, pieceCode, "abc"))
			w.send(last)
			if err := <-failed; Outcome(err) != Answered {
				t.Error(err)
			}
			wantNothingLeft(t, "client", cli.Conn())
		}
	})
}

// TestFrameOfEndedCall: a frame that waits to be queued when its call ends isn't sent: its sequence may be another call's.
func TestFrameOfEndedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, &ClientOpts{MaxQueued: 1000})
		go cli.Connect(t.Context())
		w.serverHello(`{"flyrpc":2,"serializers":["json"],"codes":0,"messages":10000000}`)
		synctest.Wait()
		s, err := cli.OpenStream(t.Context(), "/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // the pipe, the writer and the queue are full
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = cli.SendMessage(ctx, "/fill", make([]byte, 60<<10))
			cancel()
		}
		sent := make(chan error, 2)
		go func() { sent <- s.Send(1) }()
		synctest.Wait()
		w.send(Packet{Flag: FlagResponse, Sequence: s.seq})
		synctest.Wait()
		if err := s.Recv(nil); err != io.EOF {
			t.Error(err)
		}
		for range 4 {
			if p := w.recv(); p.Flag&FlagStream != 0 && p.Code == "" {
				t.Errorf("an item of a call that has ended was sent: %+v", p)
			}
		}
		if err := within(t, sent); err != io.EOF {
			t.Errorf("Send returned %v", err)
		}
	})
}
