package flyrpc

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// An error that refuses a client reaches it, however long it is.
func TestUDPLongRefusals(t *testing.T) {
	ctx := udpContext(t)
	for name, err := range map[string]error{
		"a long message":             Errorf(Conflict, "%s", strings.Repeat("m", 3000)),
		"one that JSON makes longer": Errorf(Conflict, "%s", strings.Repeat("\x01", 1000)),
		"a long code":                Errorf(Code(strings.Repeat("C", 2000)), "message"),
	} {
		want := Conflict
		if name == "a long code" {
			want = Failed
		}
		srv := quietServer(t, &ServerOpts{Auth: func(context.Context, *Credentials) (any, error) { return nil, err }})
		cli, got := Dial(ctx, listenUDP(t, srv), &ClientOpts{Auth: struct{}{}})
		if got == nil {
			cli.Close()
		}
		if !errors.Is(got, want) || Outcome(got) != NotProcessed {
			t.Errorf("%s of Auth: %.100v, %v", name, got, Outcome(got))
		}
		srv = quietServer(t, nil)
		srv.OnConnect(func(*Context) error { return err })
		srv.OnMessage("/x", func() {})
		cli, got = Dial(ctx, listenUDP(t, srv), nil)
		if got == nil {
			defer cli.Close()
			for got == nil { // OnConnect may come after it
				got = cli.Conn().Call(ctx, "/x", nil, nil)
			}
		}
		if (!errors.Is(got, want) && !errors.Is(got, Unavailable)) || Outcome(got) == Unknown {
			t.Errorf("%s of OnConnect: %.100v, %v", name, got, Outcome(got))
		}
	}
}

// A request with sequence 0, which no answer has, isn't sent again and again.
func TestDatagramSequenceZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func() {})
		cli, end := packetPair(t, srv, nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		var sent atomic.Int32
		end.setFate(func(b []byte) []time.Duration {
			if h, _, _ := parseHeader(b); string(h.code) == "/x" && h.seq == 0 {
				sent.Add(1)
			}
			return []time.Duration{0}
		})
		if err := cli.Conn().SendPacket(&Packet{Flag: FlagWait, Code: "/x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if err := cli.Call(t.Context(), "/x", nil, nil); err != nil || sent.Load() != 1 || cli.Conn().Err() != nil {
			t.Errorf("sent %d times; afterwards %v, %v", sent.Load(), err, cli.Conn().Err())
		}
	})
}

// What is kept of answers is let go though nothing comes any more.
func TestDatagramForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{KeepaliveTime: -1})
		srv.OnMessage("/x", func() []byte { return make([]byte, 1000) })
		srv.OnMessage("/m", func() {})
		cli, _ := packetPair(t, srv, &ClientOpts{KeepaliveTime: -1})
		for range 100 {
			if err := cli.Call(t.Context(), "/x", nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := cli.SendMessage(t.Context(), "/m", nil); err != nil {
				t.Fatal(err)
			}
		}
		d := srv.Conns()[0].datagram
		kept := func() int {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.known.bytes
		}
		if n := kept(); n < 100_000 {
			t.Errorf("%d bytes are kept at once", n)
		}
		time.Sleep(knownFor + 2*forgetGrain)
		if n := kept(); n != 0 {
			t.Errorf("%d bytes are kept for ever", n)
		}
	})
}

// A call whose caller has given up may still run: the same call, made later, isn't taken for it.
func TestDatagramGivenUpRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		var runs atomic.Int32
		var wait atomic.Int64
		wait.Store(int64(10 * time.Minute))
		srv.OnMessage("/run", func() int32 {
			n := runs.Add(1)
			time.Sleep(time.Duration(wait.Load()))
			return n
		})
		cli, _ := packetPair(t, srv, nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := cli.Call(ctx, "/run", nil, nil); !errors.Is(err, Canceled) {
			t.Fatal(err)
		}
		wait.Store(0)
		for i := range int32(40) {
			time.Sleep(8 * time.Second)
			if n, err := Call[int32](t.Context(), cli, "/run", nil); n != 2+i || err != nil {
				t.Fatalf("call %d after it: %d, %v", i, n, err)
			}
		}
		time.Sleep(10 * time.Minute)
	})
}
