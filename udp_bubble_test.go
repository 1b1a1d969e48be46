package flyrpc

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A handler that takes minutes has its request sent once it has come, and asked for from then on; it runs once, and is answered.
func TestDatagramLongHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran atomic.Int32
		srv := quietServer(t, nil)
		srv.OnMessage("/long", func(s string) string { ran.Add(1); time.Sleep(5 * time.Minute); return s + "!" })
		cli, end := packetPair(t, srv, nil)
		var requests, asks atomic.Int32
		chance := lossy(1, 0.3, 2*time.Second)
		fate := func(b []byte) []time.Duration {
			switch h, _, _ := parseHeader(b); {
			case string(h.code) == "/long":
				requests.Add(1)
			case string(h.code) == askCode && h.flag == FlagStream:
				asks.Add(1)
			}
			return chance(b)
		}
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		end.setFate(fate)
		got, err := Call[string](t.Context(), cli, "/long", "x")
		if got != "x!" || err != nil || ran.Load() != 1 {
			t.Errorf("%q, %v, ran %d times", got, err, ran.Load())
		}
		if n := requests.Load(); n > 10 || asks.Load() < 100 {
			t.Errorf("the request was sent %d times, and asked for %d times", n, asks.Load())
		}
	})
}

// An answer that is lost again and again is kept for 30 s, and then the call ends without running again.
func TestDatagramLostAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		cut  time.Duration
		code Code
	}{
		"for 25 s": {25 * time.Second, ""},
		"for 40 s": {40 * time.Second, Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ran atomic.Int32
				srv := quietServer(t, nil)
				srv.OnMessage("/once", func() int { return int(ran.Add(1)) })
				cli, end := packetPair(t, srv, &ClientOpts{KeepaliveInterval: time.Minute})
				if err := cli.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				end.peer.setFate(lost)
				time.AfterFunc(c.cut, func() { end.peer.setFate(nil) })
				n, err := Call[int](t.Context(), cli, "/once", nil)
				if c.code == "" && (n != 1 || err != nil) || c.code != "" && !errors.Is(err, c.code) {
					t.Errorf("%d, %v", n, err)
				}
				if c.code != "" && Outcome(err) != Answered {
					t.Errorf("%v may be repeated: %v", err, Outcome(err))
				}
				if ran.Load() != 1 {
					t.Errorf("it ran %d times", ran.Load())
				}
			})
		})
	}
}

// A link that is cut ends calls, of unknown outcome, and the connection with them.
func TestDatagramDeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/hang", func(ctx *Context) { <-ctx.Done() })
		cli, end := packetPair(t, srv, nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.AfterFunc(time.Minute, func() { end.setFate(lost); end.peer.setFate(lost) })
		err := cli.Call(t.Context(), "/hang", nil, nil)
		if !errors.Is(err, Unavailable) || Outcome(err) != Unknown || !strings.Contains(err.Error(), "dead") {
			t.Errorf("%v, %v", err, Outcome(err))
		}
		if took := time.Since(begin); took < time.Minute+5*time.Second || took > time.Minute+15*time.Second {
			t.Errorf("it took %v", took)
		}
		if cli.Conn().Err() == nil {
			t.Error("the connection is alive")
		}
	})
}

// A call that its caller gives up is not sent again, nor a ping.
func TestDatagramGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{KeepaliveTime: -1})
		srv.OnMessage("/late", func(ctx *Context) { <-ctx.Done() })
		cli, end := packetPair(t, srv, &ClientOpts{KeepaliveTime: -1})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := cli.Call(ctx, "/late", nil, nil); !errors.Is(err, Timeout) {
			t.Errorf("%v", err)
		}
		var sent atomic.Int32
		end.setFate(func([]byte) []time.Duration { sent.Add(1); return nil })
		if _, err := cli.Ping(0, time.Second); !errors.Is(err, Timeout) {
			t.Errorf("ping: %v", err)
		}
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := cli.Conn().ping(ended, 0, 0); !errors.Is(err, Timeout) {
			t.Errorf("ping: %v", err)
		}
		before := sent.Load()
		time.Sleep(30 * time.Second)
		if before == 0 || sent.Load() != before {
			t.Errorf("%d packets were sent, %d more when nobody waited", before, sent.Load()-before)
		}
	})
}

// Shutdown lets open calls end, though packets get lost, and the client learns of it.
func TestDatagramShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/slow", func() string { time.Sleep(2 * time.Second); return "done" })
		cli, end := packetPair(t, srv, nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		end.setFate(lossy(5, 0.3, 50*time.Millisecond))
		end.peer.setFate(lossy(6, 0.3, 50*time.Millisecond))
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				s, err := Call[string](t.Context(), cli, "/slow", nil)
				if s != "done" && Outcome(err) != NotProcessed { // it had not arrived
					t.Errorf("a call that was open: %q, %v", s, err)
				}
			})
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		calls.Wait()
		<-cli.Conn().Done()
		if err := cli.Call(t.Context(), "/slow", nil, nil); !errors.Is(err, Unavailable) {
			t.Errorf("a call after it: %v", err)
		}
	})
}

// A client that closes ends the connection in order, and the server's calls to it.
func TestDatagramClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan error, 1)
		srv := quietServer(t, nil)
		srv.OnDisconnect(func(_ *Context, err error) { gone <- err })
		failed := make(chan error, 1)
		srv.OnConnect(func(ctx *Context) error {
			go func() { failed <- ctx.Conn().Call(context.Background(), "/hang", nil, nil) }()
			return nil
		})
		cli, _ := packetPair(t, srv, nil)
		cli.OnMessage("/hang", func(ctx *Context) { <-ctx.Done() })
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cli.Close()
		if err := <-gone; err != nil {
			t.Errorf("it ended out of order: %v", err)
		}
		if err := <-failed; !errors.Is(err, Unavailable) {
			t.Errorf("a call to it: %v", err)
		}
	})
}

// Where nothing has happened for IdleTimeout the connection is closed in order, also when packets get lost.
func TestDatagramIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{IdleTimeout: time.Minute})
		cli, end := packetPair(t, srv, nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		var byes atomic.Int32
		end.peer.setFate(func(b []byte) []time.Duration {
			if h, _, _ := parseHeader(b); string(h.code) == byePath && byes.Add(1) == 1 {
				return nil
			}
			return []time.Duration{0}
		})
		begin := time.Now()
		<-cli.Conn().Done()
		if took := time.Since(begin); took > 80*time.Second || byes.Load() < 2 {
			t.Errorf("it took %v; bye was sent %d times", took, byes.Load())
		}
		if cli.Conn().bye.Load() == nil {
			t.Error("the client wasn't told")
		}
	})
}
