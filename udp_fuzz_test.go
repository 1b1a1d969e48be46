package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzDatagramPackets feeds a connection with whatever comes. What it takes is a whole packet, and it takes a request once.
func FuzzDatagramPackets(f *testing.F) {
	request := appendHeader(nil, FlagWait, 5, "/x", nil, 0)
	for _, b := range [][]byte{
		nil, request, append(request, request...), request[:4],
		appendHeader(nil, FlagStream, 5, askCode, nil, 0), appendHeader(nil, FlagStream|FlagResponse, 7, askCode, nil, 0),
		appendHeader(nil, FlagStream, 0, doneCode, nil, 0), appendHeader(nil, FlagStream|FlagWait, 5, "/x", nil, 0),
		appendHeader(nil, FlagResponse, 7, "", nil, 0), appendHeader(nil, 0, 9, "/x", nil, 0), appendHeader(nil, 0, 0, byePath, nil, 0),
		appendHeader(nil, FlagWait|flagLength, 1, "/x", nil, 1<<16),
	} {
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		end, _ := packetPipe()
		c := newDatagramConn(end, &limits{maxCalls: 10, keepaliveInterval: time.Second})
		defer c.Close()
		c.sent.add(0, 7, request)
		taken := map[string]bool{}
		for _, in := range [][]byte{a, b, a, b} {
			reply, mine := c.take(in)
			if reply != nil {
				if _, n, err := ParsePacket(reply, 1200); err != nil || n != len(reply) || n > 1200 {
					t.Fatalf("%x is answered %x: %v", in, reply, err)
				}
			}
			if !mine {
				continue
			}
			h, n, err := parseHeader(in)
			if err != nil || len(in)-n != int(h.length) || h.flag&FlagStream != 0 {
				t.Fatalf("%x is taken: %v", in, err)
			}
			if taken[string(in)] && h.seq != 0 {
				t.Fatalf("%x is taken twice", in)
			}
			taken[string(in)] = true
		}
	})
}

// FuzzDatagramSession has two ends call each other over a link whose faults, and all that the ends do, are chance. Every call ends,
// none runs twice, and what was answered has run.
func FuzzDatagramSession(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(bytes.Repeat([]byte{3, 200, 17, 90, 5, 61}, 20))
	f.Add(bytes.Repeat([]byte{0x12, 0x55, 0xA7}, 60))
	f.Fuzz(func(t *testing.T, ops []byte) {
		synctest.Test(t, func(t *testing.T) { datagramSession(t, ops[:min(len(ops), 300)]) })
	})
}

// datagramSession does what ops say, a byte each.
func datagramSession(t *testing.T, ops []byte) {
	var ran executions
	var mu sync.Mutex
	answered := map[int]bool{}
	handle := func(ctx *Context, n int) int {
		ran.run(n)
		time.Sleep(time.Duration(n%7) * time.Second)
		return n
	}
	srv := quietServer(t, nil)
	srv.OnMessage("/x", handle)
	cli, end := packetPair(t, srv, nil)
	cli.OnMessage("/x", handle)
	if err := cli.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the server has it on its books
	callers := []*Conn{cli.Conn(), srv.Conns()[0]}
	var calls sync.WaitGroup
	for n, op := range ops {
		c, arg := callers[op&1], time.Duration(op>>4)
		switch op >> 1 & 7 {
		case 0, 1, 2, 3:
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), (1+arg)*4*time.Second)
				defer cancel()
				got, err := Call[int](ctx, c, "/x", n)
				mu.Lock()
				defer mu.Unlock()
				var e *Error
				if err == nil && got != n || err != nil && !errors.As(err, &e) {
					t.Errorf("call %d: %d, %v", n, got, err)
				}
				answered[n] = err == nil
			})
		case 4:
			_ = c.SendMessage(t.Context(), "/x", n)
		case 5:
			end.setFate(lossy(uint64(n), float64(arg)/16, arg*100*time.Millisecond))
		case 6:
			end.peer.setFate(lossy(uint64(n), float64(arg)/16, arg*100*time.Millisecond))
		case 7:
			time.Sleep(arg * 300 * time.Millisecond)
		}
	}
	calls.Wait()
	time.Sleep(10 * time.Second) // what is late arrives, and handlers whose callers have given up end
	for n, ok := range answered {
		if !ok {
			delete(answered, n)
		}
	}
	if err := ran.check(len(ops), answered); err != nil {
		t.Error(err)
	}
}
