package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// newLonePair returns a pair over a socket that has become a lone caller's.
func newLonePair(t testing.TB, setup func(srv *Server, cli *Client)) *pair {
	t.Helper()
	p := newTCPPair(t, func(srv *Server, cli *Client) {
		register(srv)
		register(cli)
		if setup != nil {
			setup(srv, cli)
		}
	})
	p.makeLone(t)
	return p
}

// makeLone calls until nobody reads between the calls, and handlers run on the
// server's reader.
func (p *pair) makeLone(t testing.TB) {
	t.Helper()
	solos := p.sc.turn.n.Load()
	lone := eventually(func() bool {
		for range 100 {
			p.echo(t, p.cc, "x")
		}
		return p.cc.turn.idle() && p.sc.turn.n.Load() > solos+loneAfter
	})
	if !lone {
		t.Fatal("the caller doesn't count as alone")
	}
}

// echo calls and checks the answer.
func (p *pair) echo(t testing.TB, c *Conn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if got, err := Call[string](ctx, c, "/echo", text); err != nil || got != text {
		t.Fatalf("%.20q, %v", got, err)
	}
}

func TestLoneCallerIsFound(t *testing.T) {
	p := newLonePair(t, nil)
	for i := range 100 {
		p.echo(t, p.cc, fmt.Sprint(i))
	}
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// TestWatcherReads has packets come while nobody reads, and none come for longer.
func TestWatcherReads(t *testing.T) {
	got := make(chan string, 1)
	p := newLonePair(t, func(_ *Server, cli *Client) { cli.OnMessage("/note", func(s string) { got <- s }) })
	if err := p.sc.SendMessage(t.Context(), "/note", "hi"); err != nil {
		t.Fatal(err)
	}
	if s := await1(t, got, "the message"); s != "hi" {
		t.Errorf("%q", s)
	}
	p.makeLone(t)
	p.echo(t, p.sc, "from the server")
	for _, ep := range []*endpoint{p.cc.ep, p.sc.ep} {
		forgotten := eventually(func() bool {
			ep.watcher.mu.Lock()
			defer ep.watcher.mu.Unlock()
			return len(ep.watcher.conns) == 0
		})
		if !forgotten {
			t.Error("an idle connection is watched for ever")
		}
	}
	if p.cc.turn.idle() || p.sc.turn.idle() {
		t.Error("nobody reads an idle connection")
	}
}

// TestBlockingHandlerOfLoneCaller has a handler block that runs on the reader.
func TestBlockingHandlerOfLoneCaller(t *testing.T) {
	gate := make(chan struct{})
	p := newLonePair(t, func(srv *Server, _ *Client) {
		srv.OnMessage("/block", func() string { <-gate; return "done" })
	})
	var reply string
	blocked := p.cc.Go(bounded(t), "/block", nil, &reply)
	for range 5 {
		p.echo(t, p.cc, "meanwhile")
	}
	p.echo(t, p.sc, "from the server")
	close(gate)
	if err := blocked.Err(); err != nil || reply != "done" {
		t.Errorf("%q, %v", reply, err)
	}
}

// TestNestedCallsOfLoneCaller has handlers that run on the reader call back.
func TestNestedCallsOfLoneCaller(t *testing.T) {
	p := newLonePair(t, nil)
	for i := range 200 {
		text := fmt.Sprint(i)
		if got, err := Call[string](bounded(t), p.cc, "/back", text); err != nil || got != text {
			t.Fatalf("%q, %v", got, err)
		}
		p.echo(t, p.cc, text)
	}
}

// TestHandlerEndsReader has handlers panic, and end their goroutine, on the reader.
func TestHandlerEndsReader(t *testing.T) {
	p := newLonePair(t, func(srv *Server, _ *Client) {
		srv.OnMessage("/panic", func() { panic("x") })
		srv.OnMessage("/exit", func() { runtime.Goexit() })
	})
	for _, path := range []string{"/panic", "/exit", "/exit", "/panic"} {
		if err := p.cc.Call(bounded(t), path, nil, nil); !errors.Is(err, HandlerPanic) {
			t.Errorf("%s: %v", path, err)
		}
		p.makeLone(t)
	}
}

// TestLoneCallerGivesUp has contexts end before a lone caller's call, in the middle of it,
// and at its end.
func TestLoneCallerGivesUp(t *testing.T) {
	p := newLonePair(t, nil)
	for i := range 60 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*20)*time.Microsecond)
		err := p.cc.Call(ctx, "/wait", nil, nil)
		if !errors.Is(err, Timeout) {
			t.Fatal(err)
		}
		err = p.cc.Call(ctx, "/echo", "x", nil)
		if !errors.Is(err, Timeout) || Outcome(err) != NotSent {
			t.Fatal(err)
		}
		cancel()
		short, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Microsecond)
		if err := p.cc.Call(short, "/echo", "x", nil); err != nil && !errors.Is(err, Timeout) {
			t.Fatal(err)
		}
		cancel()
		for range i % 20 {
			p.echo(t, p.cc, "after it")
		}
	}
	p.makeLone(t)
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// TestLoneCallerIsJoined has all that a connection can do come between a lone caller's calls.
func TestLoneCallerIsJoined(t *testing.T) {
	got := make(chan string, 1)
	large := strings.Repeat("l", 3*largeBody)
	joins := map[string]func(t *testing.T, p *pair){
		"ping": func(t *testing.T, p *pair) {
			if _, err := p.cc.Ping(5, patience); err != nil {
				t.Error(err)
			}
		},
		"ping of the other end": func(t *testing.T, p *pair) {
			if _, err := p.sc.Ping(5, patience); err != nil {
				t.Error(err)
			}
		},
		"large answer": func(t *testing.T, p *pair) { p.echo(t, p.cc, large) },
		"call of the other end": func(t *testing.T, p *pair) {
			p.echo(t, p.sc, "back")
			p.echo(t, p.sc, large)
		},
		"message": func(t *testing.T, p *pair) {
			if err := p.sc.SendMessage(t.Context(), "/note", "hi"); err != nil || await1(t, got, "the message") != "hi" {
				t.Error(err)
			}
		},
		"raw request": func(t *testing.T, p *pair) {
			pkt, err := p.cc.SendRequest(bounded(t), "/echo", []byte("raw"))
			if err != nil || string(pkt.Payload) != "raw" {
				t.Errorf("%+v, %v", pkt, err)
			}
		},
		"hook": func(t *testing.T, p *pair) {
			n := 0
			p.cc.OnPacket(func(*Packet) bool { n++; return false })
			p.echo(t, p.cc, "seen")
			if p.cc.OnPacket(nil); n == 0 {
				t.Error("the hook saw nothing")
			}
		},
		"other paths": func(t *testing.T, p *pair) {
			for _, path := range []string{"/inline", "/ordered", "/back", "/nowhere"} {
				if err := p.cc.Call(bounded(t), path, "x", nil); err != nil && !errors.Is(err, NotFound) {
					t.Errorf("%s: %v", path, err)
				}
			}
		},
		"second caller": func(t *testing.T, p *pair) {
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() {
					for j := range 200 {
						p.echo(t, p.cc, fmt.Sprint(i, j))
					}
				})
			}
			wg.Wait()
		},
	}
	p := newLonePair(t, func(_ *Server, cli *Client) { cli.OnMessage("/note", func(s string) { got <- s }) })
	for name, join := range joins {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				p.makeLone(t)
				join(t, p)
			}
			p.echo(t, p.cc, "after it")
		})
	}
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// TestLoneCallerIsCut ends connections while a lone caller reads and while nobody does.
func TestLoneCallerIsCut(t *testing.T) {
	ends := map[string]func(p *pair){
		"client closes":   func(p *pair) { p.cli.Close() },
		"conn closes":     func(p *pair) { p.cc.Close() },
		"server closes":   func(p *pair) { p.srv.Close() },
		"server shuts":    func(p *pair) { _ = p.srv.Shutdown(context.Background()) },
		"socket closes":   func(p *pair) { p.cc.proto.conn.Close() },
		"the other's too": func(p *pair) { p.sc.proto.conn.Close() },
	}
	for name, end := range ends {
		for _, path := range []string{"", "/echo", "/wait"} {
			if name == "server shuts" && path == "/wait" {
				continue // it would wait for the handler
			}
			t.Run(name+path, func(t *testing.T) {
				gone := make(chan error, 2)
				p := newLonePair(t, func(srv *Server, _ *Client) {
					srv.OnDisconnect(func(_ *Context, err error) { gone <- err })
				})
				called := make(chan error, 1)
				var calls atomic.Int32
				go func() {
					for path != "" {
						calls.Add(1)
						if err := p.cc.Call(bounded(t), path, "x", nil); err != nil {
							called <- err
							return
						}
					}
					called <- Unavailable
				}()
				begun := eventually(func() bool {
					return path == "" || calls.Load() > 20 || path == "/wait" && p.sc.in.count() > 0
				})
				if !begun {
					t.Fatal("no call was made")
				}
				end(p)
				if err := await1(t, called, "the call"); !errors.Is(err, Unavailable) && !errors.Is(err, Canceled) {
					t.Error(err)
				}
				await1(t, p.cc.ended, "the client's connection to end")
				await1(t, gone, "OnDisconnect")
				await1(t, p.sc.ended, "the server's connection to end")
				if len(gone) > 0 {
					t.Error("OnDisconnect ran twice")
				}
			})
		}
	}
}
