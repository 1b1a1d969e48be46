package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
)

// executions counts how often handlers have run, by the number of the call or message.
type executions struct {
	mu    sync.Mutex
	times map[int]int
}

func (e *executions) run(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times == nil {
		e.times = map[int]int{}
	}
	e.times[n]++
}

// check says what is wrong with what has run: a call or message twice, one that nobody made, or one that was answered and
// didn't run.
func (e *executions) check(made int, answered map[int]bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for n, times := range e.times {
		if times > 1 || n < 0 || n >= made {
			errs = append(errs, fmt.Errorf("%d ran %d times", n, times))
		}
	}
	for n := range answered {
		if e.times[n] == 0 {
			errs = append(errs, fmt.Errorf("%d was answered and didn't run", n))
		}
	}
	return errors.Join(errs...)
}

func TestExecutionsChecker(t *testing.T) {
	var e executions
	e.run(0)
	e.run(1)
	if err := e.check(2, map[int]bool{0: true, 1: true}); err != nil {
		t.Errorf("a right record: %v", err)
	}
	if e.check(3, map[int]bool{2: true}) == nil {
		t.Error("that a call was answered and didn't run isn't found")
	}
	e.run(1)
	if e.check(2, nil) == nil {
		t.Error("that a call ran twice isn't found")
	}
}

// throughFaults has a client dial srv over UDP through faults.
func throughFaults(t *testing.T, srv *Server, faults netfault.DatagramFaults, opts *ClientOpts) (*Client, *netfault.DatagramProxy) {
	t.Helper()
	p, err := netfault.NewDatagramProxy(listenUDP(t, srv)[len("udp://"):], faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	cli, err := Dial(udpContext(t), "udp://"+p.Addr(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli, p
}

func TestUDPFaults(t *testing.T) {
	const calls, callers = 10_000, 100
	var ran executions
	srv := NewServer(nil)
	srv.OnMessage("/run", func(n int) int { ran.run(n); return n + 1 })
	cli, _ := throughFaults(t, srv, netfault.DatagramFaults{Lose: 0.2, Repeat: 0.1, Late: 0.2, Truncate: 0.02, Seed: 7}, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	answered := map[int]bool{}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := i; n < calls; n += callers {
				got, err := Call[int](ctx, cli, "/run", n)
				if err != nil || got != n+1 {
					t.Errorf("call %d: %d, %v", n, got, err)
					continue
				}
				mu.Lock()
				answered[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := ran.check(calls, answered); err != nil {
		t.Error(err)
	}
	if len(answered) != calls {
		t.Errorf("%d of %d calls were answered", len(answered), calls)
	}
}

// Messages may get lost, and none arrives twice.
func TestUDPMessages(t *testing.T) {
	const messages = 500
	var ran executions
	srv := NewServer(nil)
	srv.OnMessage("/note", func(n int) { ran.run(n) })
	cli, _ := throughFaults(t, srv, netfault.DatagramFaults{Lose: 0.2, Repeat: 0.5, Late: 0.2, Seed: 3}, nil)
	ctx := udpContext(t)
	for n := range messages {
		if err := cli.SendMessage(ctx, "/note", n); err != nil {
			t.Fatal(err)
		}
		if n%20 == 0 { // not faster than a socket takes them
			if _, err := cli.Ping(0, 10*time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := cli.Ping(0, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := ran.check(messages, nil); err != nil {
		t.Error(err)
	}
	ran.mu.Lock()
	defer ran.mu.Unlock()
	if n := len(ran.times); n < messages/2 || n >= messages {
		t.Errorf("%d of %d messages have arrived", n, messages)
	}
}
