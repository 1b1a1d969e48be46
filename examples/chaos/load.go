package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

const (
	// The ends find a connection that is silently lost within these two.
	keepaliveTime     = 500 * time.Millisecond
	keepaliveInterval = 500 * time.Millisecond

	deadline = 30 * time.Second      // of all that the client asks for
	inHaste  = 10 * time.Millisecond // the most that is given to hasty ones
	largest  = 8 << 10               // bytes that come with it
)

// load asks for things all the time, by one Client.
type load struct {
	cli     *flyrpc.Client
	journal *journal
	workers map[kind]int // how many do each kind, one after the other
	think   time.Duration
	seed    uint64
}

// run runs the load until stop ends, and waits until all has ended.
func (l *load) run(stop context.Context) {
	var all sync.WaitGroup
	for i, k := range kinds() {
		for w := range l.workers[k] {
			all.Go(func() {
				r := rand.New(rand.NewPCG(l.seed, uint64(i<<16|w)))
				for stop.Err() == nil {
					l.ask(r, k)
					_ = pause(stop, upTo(r, 2*l.think))
				}
			})
		}
	}
	all.Wait()
}

// ask asks for one thing, and enters how it has ended.
func (l *load) ask(r *rand.Rand, k kind) {
	body := make([]byte, r.IntN(largest)>>r.IntN(10)) // mostly short
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	j := &job{Kind: k, Body: body, Refuse: k != tell && k != watch && k != resume && r.IntN(20) == 0}
	j.Back = r.IntN(5) == 0
	if r.IntN(2) == 0 {
		j.Before, j.After = upTo(r, 4*time.Millisecond), upTo(r, 4*time.Millisecond)
	}
	e := &entry{kind: k, sum: crc32.ChecksumIEEE(body), refuse: j.Refuse}
	j.ID = l.journal.begin(e)
	limit := deadline
	if k == hasty {
		limit = upTo(r, inHaste)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ctx = flyrpc.WithStickyKey(ctx, fmt.Sprint("worker ", r.IntN(100)))
	a, err := l.send(ctx, j, e)
	l.journal.end(e, err, a)
}

// send sends a job in the way of its kind.
func (l *load) send(ctx context.Context, j *job, e *entry) (a answer, err error) {
	switch j.Kind {
	case call, hasty:
		err = l.cli.Call(ctx, "/do", j, &a)
	case again:
		err = l.cli.Call(flyrpc.WithIdempotent(ctx), "/do", j, &a)
	case tell:
		err = l.cli.SendMessage(ctx, "/tell", j)
	case watch:
		for it, failure := range flyrpc.Receive[item](ctx, l.cli, "/watch", j) {
			if err = failure; err == nil {
				a = e.receive(it)
			}
		}
	case resume:
		goOn := flyrpc.Resume(func(last item) any {
			rest := *j
			rest.From = last.N + 1
			return &rest
		})
		for it, failure := range flyrpc.Receive(ctx, l.cli, "/watch", j, goOn) {
			if err = failure; err == nil {
				a = e.receive(it)
			}
		}
	case upload:
		rest := *j
		rest.Body = nil
		a, err = flyrpc.Upload[answer](ctx, l.cli, "/upload", &rest, slices.Chunk(j.Body, 512))
	}
	return a, err
}

// receive enters an item that has come, and returns its answer.
func (e *entry) receive(it item) answer {
	if it.N != e.received && e.gap == "" {
		e.gap = fmt.Sprintf("item %d has come after %d items", it.N, e.received)
	}
	e.received++
	return it.Answer
}

// upTo returns a time from 0 to d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }
