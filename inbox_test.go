package flyrpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// newInbox returns an inbox with room for limit packets of a kind, whose reader may wait
// if *wait is set.
func newInbox(limit int, wait *bool) *inbox {
	return &inbox{limit: limit, room: make(chan struct{}, 1), canWait: func() bool { return *wait }}
}

// looseIn is a message, strictIn a request of a version 2 peer.
func looseIn() *incoming { return &incoming{route: new(route)} }

func strictIn(seq uint16) *incoming {
	return &incoming{route: new(route), strict: true, seq: seq, flag: FlagWait}
}

func wantVerdict(t *testing.T, what string, got, want verdict) {
	t.Helper()
	if got != want {
		t.Errorf("%s: verdict %d, want %d", what, got, want)
	}
}

func TestInboxRequests(t *testing.T) {
	wait := true
	b := newInbox(2, &wait)
	one, two := strictIn(1), strictIn(2)
	wantVerdict(t, "first", b.add(one), admitRun)
	wantVerdict(t, "open sequence", b.add(strictIn(1)), admitConflict)
	wantVerdict(t, "second", b.add(two), admitRun)
	wantVerdict(t, "one too many", b.add(strictIn(3)), admitConflict)
	if b.find(1) != one || b.find(3) != nil || b.count() != 2 {
		t.Error("the open requests are wrong")
	}
	if busy := b.remove(one); !busy || b.find(1) != nil {
		t.Error("a request that is answered isn't open")
	}
	again := strictIn(1)
	wantVerdict(t, "again", b.add(again), admitRun)
	b.finish(one) // the handler ends after its answer: the new request stays
	if b.find(1) != again {
		t.Error("the end of the old request took the new one away")
	}
	b.finish(again)
	if busy := b.remove(two); busy {
		t.Error("nothing else is open")
	}
	b.finish(two)
	if b.count() != 0 {
		t.Errorf("%d are left", b.count())
	}
}

func TestInboxEarlyReply(t *testing.T) {
	wait := true
	b := newInbox(1, &wait)
	in := strictIn(1)
	b.add(in)
	b.repliesEarly(in)
	b.remove(in)
	if b.find(1) != nil || b.count() != 1 {
		t.Error("a handler that has replied still runs, and its sequence is free")
	}
	b.finish(in)
	b.remove(in)
	if b.count() != 0 {
		t.Error("something is left")
	}
	late := strictIn(2)
	b.add(late)
	b.repliesEarly(late)
	b.finish(late) // it returned while another goroutine replies
	b.remove(late)
	if b.count() != 0 {
		t.Error("something is left")
	}
}

func TestInboxMessages(t *testing.T) {
	wait := true
	b := newInbox(2, &wait)
	first := looseIn()
	wantVerdict(t, "first", b.add(first), admitRun)
	wantVerdict(t, "second", b.add(looseIn()), admitRun)
	wantVerdict(t, "no room", b.add(looseIn()), admitWait)
	if !b.stuck.Load() {
		t.Error("the reader waits")
	}
	wantVerdict(t, "a request needs no room", b.add(strictIn(1)), admitRun)
	wait = false // a call is open: the reader must go on
	var held []*incoming
	for range 4 {
		held = append(held, looseIn())
		wantVerdict(t, "held", b.add(held[len(held)-1]), admitHeld)
	}
	wantVerdict(t, "too many", b.add(looseIn()), admitRefuse)
	for i := range held {
		run := b.finish(first)
		if len(run) != 1 || run[0] != held[i] {
			t.Fatalf("after end %d: %v", i, run)
		}
		first = run[0]
	}
	if len(b.room) != 1 || b.stuck.Load() {
		t.Error("the reader wasn't told that there is room")
	}
	last, again := b.finish(first), b.finish(first)
	if last != nil || again != nil || b.nLoose != 1 {
		t.Error("one message is left")
	}
}

func TestInboxHeldBytes(t *testing.T) {
	wait := false
	b := newInbox(1, &wait)
	b.add(looseIn())
	big := looseIn()
	big.payload = make([]byte, maxHeld+1)
	wantVerdict(t, "large, and held alone", b.add(big), admitHeld)
	b.takeHeld()
	big.payload, big.shared = big.payload[:maxHeld], true
	wantVerdict(t, "just held", b.add(big), admitHeld)
	if big.shared {
		t.Error("the payload is still the reader's")
	}
	small := looseIn()
	small.payload = []byte{1}
	wantVerdict(t, "one byte too many", b.add(small), admitRefuse)
	if b.heldLen != maxHeld || len(b.takeHeld()) != 1 || b.heldLen != 0 {
		t.Error("the bytes held are wrong")
	}
}

// TestInboxGate: requests that were held go before messages for which there is no room.
func TestInboxGate(t *testing.T) {
	wait := true
	b := newInbox(2, &wait)
	b.gated = true
	var messages, requests []*incoming
	for i := range 3 {
		messages = append(messages, looseIn())
		wantVerdict(t, "message", b.add(messages[i]), admitHeld)
	}
	for i := range 2 {
		requests = append(requests, strictIn(uint16(i+1)))
		if i == 0 {
			wantVerdict(t, "request", b.add(requests[i]), admitHeld)
		}
	}
	wantVerdict(t, "no room to hold", b.add(looseIn()), admitWait)
	run := b.ungate()
	if len(run) != 3 || run[0] != requests[0] || run[1] != messages[0] || run[2] != messages[1] {
		t.Fatalf("%d are let in", len(run))
	}
	wantVerdict(t, "request", b.add(requests[1]), admitRun)
	if run := b.finish(messages[0]); len(run) != 1 || run[0] != messages[2] || b.heldLen != 0 {
		t.Error("the third message isn't let in")
	}
}

func TestInboxClose(t *testing.T) {
	wait := false
	b := newInbox(1, &wait)
	b.gated = true
	held := strictIn(1)
	b.add(held)
	b.gated = false
	message, early := looseIn(), strictIn(2)
	b.limit = 2
	b.add(message)
	b.add(early)
	b.repliesEarly(early)
	b.remove(early)
	cause := errors.New("gone")
	b.close(cause)
	b.close(errors.New("again"))
	for _, in := range []*incoming{held, message, early} {
		if in.ended() != context.Canceled {
			t.Errorf("%+v wasn't cancelled", in)
		}
	}
	wantVerdict(t, "after the end", b.add(strictIn(3)), admitRefuse)
	wantVerdict(t, "after the end", b.add(looseIn()), admitRefuse)
	if len(b.open) != 0 || b.ungate() != nil {
		t.Error("what was held is still there")
	}
}

// TestInboxModel does random operations on an inbox and compares it with a model.
func TestInboxModel(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		wait := false
		b := newInbox(1+rnd.IntN(5), &wait)
		b.gated = rnd.IntN(2) == 0
		open := map[uint16]*incoming{}
		running := map[*incoming]bool{}
		queue := []*incoming{}
		start := func(run []*incoming) {
			for _, in := range run {
				if !in.strict {
					if len(queue) == 0 || queue[0] != in {
						t.Fatal("a message was let in out of its turn, or lost")
					}
					queue = queue[1:]
				}
				running[in] = true
			}
		}
		for range 1000 {
			wait = rnd.IntN(3) == 0
			switch rnd.IntN(5) {
			case 0: // a request
				in := strictIn(uint16(rnd.IntN(8)))
				conflict := open[in.seq] != nil || len(open) >= b.limit
				v := b.add(in)
				if conflict != (v == admitConflict) {
					t.Fatalf("verdict %d", v)
				}
				if !conflict {
					open[in.seq] = in
					running[in] = v == admitRun
				}
			case 1, 2: // a message
				in := looseIn()
				switch v := b.add(in); v {
				case admitRun:
					if len(queue) > 0 {
						t.Fatal("a message overtook those that are held")
					}
					running[in] = true
				case admitHeld:
					queue = append(queue, in)
				case admitWait:
					if !wait {
						t.Fatal("the reader must not wait")
					}
				}
			case 3: // an end
				for in, runs := range running {
					if !runs {
						continue
					}
					delete(running, in)
					if in.strict {
						delete(open, in.seq)
					}
					start(b.finish(in))
					break
				}
			case 4:
				start(b.ungate())
			}
			if len(b.open) != len(open) || b.nLoose > b.limit || len(queue) > 2*b.limit {
				t.Fatalf("%d requests, want %d; %d messages", len(b.open), len(open), b.nLoose)
			}
		}
	}
}

// TestMessagesHoldTheSender: slow handlers use up the credit, nothing is lost, and the sender
// isn't let go on without end.
func TestMessagesHoldTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, total = 4, 3000
		var running, most, handled, sent atomic.Int32
		p := newPair(t, &ServerOpts{MaxCalls: limit, MessageWindow: 100_000}, &ClientOpts{MaxQueued: 10_000}, func(srv *Server, cli *Client) {
			srv.OnMessage("/slow", func([]byte) {
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Second)
				running.Add(-1)
				handled.Add(1)
			})
		})
		go func() {
			for range total {
				if err := p.cli.SendMessage(t.Context(), "/slow", make([]byte, 1000)); err != nil {
					t.Error(err)
				}
				sent.Add(1)
			}
		}()
		synctest.Wait()
		// the window, and what was returned for those whose handlers have started
		if n := sent.Load(); n < 90 || n > 100+limit {
			t.Errorf("%d messages were sent at once", n)
		}
		time.Sleep((total/limit + 1) * time.Second)
		if handled.Load() != total || most.Load() != limit {
			t.Errorf("%d messages were handled, %d at once", handled.Load(), most.Load())
		}
		wantEmpty(t, "server", p.sc)
	})
}

// TestMessageHandlersThatCall: handlers of messages, as many as the limit, call the sender and
// get their answers though the reader has stopped.
func TestMessageHandlersThatCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, rounds = 2, 10
		var handled atomic.Int32
		p := newPair(t, &ServerOpts{MaxCalls: limit}, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/work", func(ctx *Context) error {
				time.Sleep(time.Second)
				err := ctx.Call("/back", nil, nil)
				if err != nil {
					t.Error(err)
				}
				handled.Add(1)
				return err
			})
			cli.OnMessage("/back", func() {})
		})
		p.down.SetDelay(time.Millisecond)
		for round := range rounds {
			for range 3 * limit { // as many as are handled and held; the reader stops, and goes on
				if err := p.cli.SendMessage(t.Context(), "/work", nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			if handled.Load() != int32(3*limit*(round+1)) {
				t.Fatalf("%d messages were handled in %d rounds", handled.Load(), round+1)
			}
		}
	})
}
