package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// cancelHandlers registers handlers that tell how their Context, or their stream, has ended.
func cancelHandlers(r Registrar, ended chan error) {
	on := r.registrar().OnMessage
	on("/endless", func(ctx *Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := 0; yield(i, nil); i++ {
			}
			<-ctx.Done()
			ended <- ctx.Err()
		}
	})
	on("/silent", func(ctx *Context, s *Stream) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	on("/recv", func(s *Stream) error {
		for {
			if err := s.Recv(nil); err != nil {
				ended <- err
				return err
			}
		}
	})
	on("/read", func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		ended <- err
		return err
	})
	on("/range", func(items iter.Seq2[int, error]) (err error) {
		for _, err = range items {
		}
		ended <- err
		return err
	})
}

// cancelPair is a pair whose ends have cancelHandlers, with small windows.
func cancelPair(t *testing.T) (p *pair, ended chan error) {
	ended = make(chan error, 100)
	p = newPair(t, &ServerOpts{StreamWindow: 2 << 10}, &ClientOpts{StreamWindow: 2 << 10}, func(srv *Server, cli *Client) {
		for _, r := range []Registrar{srv, cli} {
			streamHandlers(r)
			cancelHandlers(r, ended)
		}
	})
	return p, ended
}

// TestBreakCancels: breaking out of Receive and Exchange, Close, and the end of the context end the handler's.
func TestBreakCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ended := cancelPair(t)
		for name, c := range map[string]*Conn{"client": p.cc, "server": p.sc} {
			for range Receive[int](t.Context(), c, "/endless", nil) {
				break
			}
			if err := <-ended; err != context.Canceled {
				t.Error(name, err)
			}
			for range Exchange[int, int](t.Context(), c, "/endless", nil, endless) {
				break
			}
			if err := <-ended; err != context.Canceled {
				t.Error(name, err)
			}
			r, err := Call[io.ReadCloser](t.Context(), c, "/split", 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, Canceled) {
				t.Error(err)
			}
			synctest.Wait()
			wantNothingLeft(t, name, c)
		}
	})
}

// TestCancelWhile ends the context, or closes the stream, while its caller waits in Recv, in Send, or does neither.
func TestCancelWhile(t *testing.T) {
	for _, how := range []string{"cancel", "deadline", "close"} {
		for _, where := range []string{"recv", "send", "reader", "between"} {
			bubble(t, how+" in "+where, func(t *testing.T) {
				p, ended := cancelPair(t)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				s, err := p.cc.OpenStream(ctx, "/silent", nil)
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() {
					switch where {
					case "recv":
						done <- s.Recv(nil)
					case "send":
						for err = error(nil); err == nil; {
							err = s.Send("x")
						}
						done <- err
					case "reader":
						done <- s.Send(counting{})
					case "between":
						time.Sleep(time.Minute)
						done <- s.Recv(nil)
					}
				}()
				synctest.Wait()
				code, cause := Canceled, context.Canceled
				switch how {
				case "cancel":
					cancel()
				case "close":
					s.Close()
				case "deadline":
					code, cause = Timeout, context.DeadlineExceeded
				}
				if err := <-ended; err != cause && err != context.Canceled {
					t.Errorf("the handler's Context ended with %v", err)
				}
				err = <-done
				if sends := where == "send" || where == "reader"; sends && err == io.EOF {
					err = s.Recv(nil)
				}
				if !errors.Is(err, code) || !errors.Is(err, cause) {
					t.Errorf("got %v", err)
				}
				if err := s.Recv(nil); !errors.Is(err, code) {
					t.Errorf("then %v", err)
				}
				if err := s.Send("x"); err == nil {
					t.Error("sent")
				}
				wantNothingLeft(t, "client", p.cc)
				wantNothingLeft(t, "server", p.sc)
			})
		}
	}
}

// TestEarlyEndReleases: a handler that returns releases a caller that waits to send.
func TestEarlyEndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		p := newPair(t, &ServerOpts{StreamWindow: 1 << 10}, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/early", func(s *Stream) (string, error) { <-goOn; return "enough", nil })
			srv.OnMessage("/fails", func(s *Stream) (string, error) { <-goOn; return "", Conflict })
			srv.OnMessage("/reader", func(r io.Reader) string { <-goOn; return "enough" })
		})
		for _, path := range []string{"/early", "/reader"} {
			time.AfterFunc(time.Second, func() { goOn <- struct{}{} })
			if s, err := Upload[string](t.Context(), p.cc, path, nil, endless); s != "enough" || err != nil {
				t.Error(path, s, err)
			}
			time.AfterFunc(time.Second, func() { goOn <- struct{}{} })
			if s, err := Call[string](t.Context(), p.cc, path, counting{}); s != "enough" || err != nil {
				t.Error(path, s, err)
			}
		}
		time.AfterFunc(time.Second, func() { goOn <- struct{}{} })
		_, err := Upload[string](t.Context(), p.cc, "/fails", nil, endless)
		wantFailed(t, err, Conflict, Answered)
		s, err := p.cc.OpenStream(t.Context(), "/early", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { goOn <- struct{}{} })
		for err == nil {
			err = s.Send("x")
		}
		var text string
		if err != io.EOF || s.Recv(&text) != nil || text != "enough" || s.Recv(&text) != io.EOF {
			t.Error(err, text)
		}
		wantNothingLeft(t, "client", p.cc)
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestUploadFails: an Upload whose items can't be encoded, or whose reader fails, says so, and the handler is cancelled.
func TestUploadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ended := cancelPair(t)
		_, err := Upload[int](t.Context(), p.cc, "/range", nil, func(yield func(any) bool) {
			yield(1)
			time.Sleep(time.Second)
			yield(func() {})
		})
		wantFailed(t, err, BadRequest, Unknown)
		if err := <-ended; !errors.Is(err, Canceled) {
			t.Error(err)
		}
		own := errors.New("own")
		err = p.cc.Call(t.Context(), "/read", io.MultiReader(bytes.NewReader([]byte("abc")), failing{own}), nil)
		if !outcomeIs(err, Failed, Unknown) || !errors.Is(err, own) {
			t.Error(err, Outcome(err))
		}
		if err := <-ended; !errors.Is(err, Canceled) {
			t.Error(err)
		}
		for _, err := range Exchange[any, int](t.Context(), p.cc, "/pass", nil, slices.Values([]any{func() {}})) {
			if !outcomeIs(err, BadRequest, Unknown) {
				t.Error(err, Outcome(err))
			}
		}
		wantNothingLeft(t, "client", p.cc)
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestOutcomeOfUpload: an Upload that was given up while it waited to send is of unknown outcome.
func TestOutcomeOfUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ended := cancelPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Upload[int](ctx, p.cc, "/silent", nil, endless)
		if Outcome(err) != Unknown || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err, Outcome(err))
		}
		<-ended
		err = p.cc.Call(ctx, "/silent", counting{}, nil)
		wantFailed(t, err, Timeout, NotSent)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.cc.Call(ctx, "/silent", counting{}, nil)
		wantFailed(t, err, Timeout, Unknown)
		<-ended
	})
}

// failing is a reader that fails after a while.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	time.Sleep(time.Second)
	return 0, f.err
}

// TestStreamDeadline: the caller's deadline reaches the handler of a stream.
func TestStreamDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ended := cancelPair(t)
		p.srv.OnMessage("/deadline", func(ctx *Context, s *Stream) error {
			until, ok := ctx.Deadline()
			if left := time.Until(until); !ok || left < 59*time.Second || left > time.Minute+time.Millisecond {
				t.Error(left, ok)
			}
			err := s.Recv(nil)
			ended <- err
			return err
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p.up.SetPartition(false)
		s, err := p.cc.OpenStream(ctx, "/deadline", nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFailed(t, s.Recv(nil), Timeout, Unknown)
		if err := <-ended; !errors.Is(err, Timeout) && !errors.Is(err, Canceled) {
			t.Error(err)
		}
		wantNothingLeft(t, "client", p.cc)
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestStreamsOfLostConn: the loss of the connection ends what waits at both ends with UNAVAILABLE.
func TestStreamsOfLostConn(t *testing.T) {
	for _, path := range []string{"/recv", "/read", "/range"} {
		bubble(t, path, func(t *testing.T) {
			p, ended := cancelPair(t)
			done := make(chan error, 3)
			go func() {
				s, err := p.cc.OpenStream(t.Context(), path, nil)
				if err == nil {
					err = s.Recv(nil)
				}
				done <- err
			}()
			go func() { done <- p.cc.Call(t.Context(), path, ctxReader{t.Context()}, nil) }()
			go func() {
				_, err := Upload[int](t.Context(), p.cc, "/silent", nil, endless)
				done <- err
			}()
			synctest.Wait()
			p.up.Reset()
			for range 2 {
				wantFailed(t, <-done, Unavailable, Unknown)
			}
			for range 2 {
				if err := <-ended; !errors.Is(err, Unavailable) && err != context.Canceled {
					t.Errorf("at the handler: %v", err)
				}
			}
		})
	}
}

// TestItemsBeforeLoss: what has come before the connection is lost is still delivered, then the error.
func TestItemsBeforeLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := cancelPair(t)
		s, err := p.cc.OpenStream(t.Context(), "/pass", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := s.Send(i); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		p.up.Reset()
		synctest.Wait()
		for i := range 5 {
			var n int
			if err := s.Recv(&n); n != i || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		wantFailed(t, s.Recv(nil), Unavailable, Unknown)
		if err := s.Send(1); err != io.EOF && !errors.Is(err, Unavailable) {
			t.Error(err)
		}
		_, err = p.cc.OpenStream(t.Context(), "/pass", nil)
		wantFailed(t, err, Unavailable, NotSent)
	})
}

// TestShutdownWithStreams: Shutdown waits for streams, and cuts them when its context ends.
func TestShutdownWithStreams(t *testing.T) {
	for _, whole := range []bool{true, false} {
		bubble(t, fmt.Sprint(whole), func(t *testing.T) {
			p, ended := cancelPair(t)
			s, err := p.cc.OpenStream(t.Context(), "/pass", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(1); err != nil {
				t.Fatal(err)
			}
			cut, err := p.cc.OpenStream(t.Context(), "/silent", nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			synctest.Wait()
			done := make(chan error, 1)
			go func() { done <- p.srv.Shutdown(ctx) }()
			synctest.Wait()
			if err := s.Send(2); err != nil {
				t.Error(err)
			}
			s.CloseSend()
			var a, b int
			if s.Recv(&a) != nil || s.Recv(&b) != nil || a != 1 || b != 2 || s.Recv(nil) != io.EOF {
				t.Error(a, b)
			}
			if whole {
				cut.Close()
			} else if err := cut.Recv(nil); !errors.Is(err, Unavailable) {
				t.Error(err)
			}
			if err := <-done; (err == nil) != whole {
				t.Error(err)
			}
			<-ended
		})
	}
}
