package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

const (
	dialers     = 16               // connections made at once
	callTimeout = 10 * time.Second // of a good call
	maxOpen     = 4096             // good calls open at once
)

// clients are well-behaved connections.
type clients struct{ clients []*flyrpc.Client }

// connect makes n connections.
func connect(ctx context.Context, addr string, n int, b *book, name string) (*clients, error) {
	c := &clients{make([]*flyrpc.Client, n)}
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			b.open(conn, name)
		}
		return conn, err
	}
	errs := make([]error, n)
	places := make(chan struct{}, dialers)
	var all sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			c.clients[i] = flyrpc.NewClient(addr, &flyrpc.ClientOpts{DialFunc: dial, HelloTimeout: callTimeout})
			errs[i] = c.clients[i].Connect(ctx)
			<-places
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		c.close()
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return c, nil
}

// close closes the connections.
func (c *clients) close() {
	for _, cli := range c.clients {
		cli.Close()
	}
}

// part is what was measured with or without misbehaving clients.
type part struct {
	due    []time.Duration // of the calls that were answered, from when they were due, sorted
	begun  []time.Duration // the same from when they were begun: what the server and the network take
	late   []time.Duration // of all calls, from when they were due to when they were begun, sorted: what this process takes
	held   int             // calls that were begun late because too many were open, which is the server's doing
	failed int
	first  error  // of those that failed
	peak   uint64 // the server's memory, in bytes
	conns  int    // the server's connections in the end
}

// measure has good clients call at the rate of c, and keeps what they did once they are warm.
func measure(ctx context.Context, c config, good *clients, srv *server) (*part, error) {
	if _, err := call(ctx, good, c.rate, c.warm); err != nil {
		return nil, err
	}
	defer holdGarbage()()
	if _, err := srv.state(ctx); err != nil { // so that its peak is of what follows
		return nil, err
	}
	p, err := call(ctx, good, c.rate, c.measure)
	if err != nil {
		return nil, err
	}
	s, err := srv.state(ctx)
	if err != nil {
		return nil, err
	}
	p.peak, p.conns = s.Peak, s.Conns
	return p, nil
}

// maxGarbage is the memory, in bytes, from which on garbage is collected although calls are timed.
const maxGarbage = 4 << 30

// holdGarbage collects this process's garbage, and lets what comes lie until the function that it returns is called: to collect
// that of thousands of clients takes tens of milliseconds, in which calls are begun late and their answers seen late, in one of
// the two parts and not in the other as it happens. The server's is collected as its GOGC says.
func holdGarbage() (release func()) {
	runtime.GC()
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(maxGarbage)
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}
}

// call has one client after the other make a call, at a fixed rate, whether or not those before have been answered: so a
// server that is slow doesn't put off calls and make itself look fast.
func call(ctx context.Context, good *clients, rate float64, how time.Duration) (*part, error) {
	n := int(rate * how.Seconds())
	times, errs := make([]time.Duration, n), make([]error, n) // from when they were due
	p := &part{late: make([]time.Duration, n)}
	places := make(chan struct{}, maxOpen)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		sleep(time.Until(due))
		if ctx.Err() != nil {
			break
		}
		if len(places) == maxOpen {
			p.held++
		}
		places <- struct{}{}
		all.Go(func() {
			p.late[i] = time.Since(due)
			errs[i] = echo(ctx, good.clients[i%len(good.clients)])
			times[i] = time.Since(due)
			<-places
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, err := range errs {
		switch {
		case err == nil:
			p.due = append(p.due, times[i])
			p.begun = append(p.begun, times[i]-p.late[i])
		case p.first == nil:
			p.first = err
			fallthrough
		default:
			p.failed++
		}
	}
	slices.Sort(p.due)
	slices.Sort(p.begun)
	slices.Sort(p.late)
	return p, nil
}

// echo makes one call.
func echo(ctx context.Context, cli *flyrpc.Client) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	const message = "a message of a few words"
	answer, err := flyrpc.Call[string](ctx, cli, "/echo", message)
	if err == nil && answer != message {
		err = fmt.Errorf("%q came back", answer)
	}
	return err
}

// quantile returns the time, of those sorted, that a part q of them aren't longer than.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(int(q*float64(len(times))), len(times)-1)]
}
