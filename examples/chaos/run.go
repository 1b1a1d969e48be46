package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// shown is how many problems are printed.
const shown = 20

// trial is one run.
type trial struct {
	config
	out     io.Writer
	cluster cluster
	cli     *flyrpc.Client
	journal *journal
	resolve *resolver // nil if addresses don't change
	before  usage
}

// run runs a trial, prints its account, and returns what was wrong.
func run(ctx context.Context, c config, out io.Writer) (err error) {
	goroutines := runtime.NumGoroutine()
	dir, err := os.MkdirTemp("", "flyrpc-chaos")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := &trial{config: c, out: out, journal: new(journal)}
	fmt.Fprintf(out, "%v of chaos with the seed %d\n", c.time, c.seed)
	if t.cluster, err = startCluster(3, dir); err != nil {
		return err
	}
	err = t.play(ctx)
	if t.cli != nil {
		err = errors.Join(err, t.cli.Close())
	}
	err = errors.Join(err, t.cluster.stop())
	if err != nil {
		return err
	}
	end, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return within(end, func() error {
		if n := runtime.NumGoroutine(); n > goroutines {
			return fmt.Errorf("%d goroutines are left when the client is closed, and %d were there before it", n, goroutines)
		}
		return nil
	})
}

// play connects, plays the three acts and compares.
func (t *trial) play(ctx context.Context) (err error) {
	t.cli = t.newClient()
	t.cli.OnMessage("/back", func(id uint64) uint64 { return id })
	if err := t.cli.Connect(ctx); err != nil {
		return err
	}
	if err := t.calm(ctx); err != nil {
		return fmt.Errorf("before anything has happened: %w", err)
	}
	t.before = measure()
	n, err := t.storm(ctx)
	if err != nil {
		return err
	}
	return errors.Join(t.compare(ctx, n), t.settle(ctx))
}

// newClient returns the client.
func (t *trial) newClient() *flyrpc.Client {
	addrs := t.cluster.addrs()
	opts := &flyrpc.ClientOpts{
		Reconnect: flyrpc.Reconnect{
			Backoff: 20 * time.Millisecond, MaxPause: 500 * time.Millisecond, Timeout: 2 * time.Second, Repeats: 100,
			OnReconnect: func(ctx context.Context, conn *flyrpc.Conn) error { return conn.Call(ctx, "/introduce", nil, nil) },
		},
		Balance:       flyrpc.Balance{Strategy: t.strategy, Hedge: t.hedge, ConnsPerAddr: t.conns},
		KeepaliveTime: keepaliveTime, KeepaliveInterval: keepaliveInterval, HelloTimeout: time.Second,
	}
	if !t.moves {
		return flyrpc.NewClient("tcp://"+strings.Join(addrs, ","), opts)
	}
	t.resolve = newResolver(addrs)
	opts.Resolver = t.resolve
	return flyrpc.NewClient("", opts)
}

// calm has the load run in a world without faults, so that all is warm and every server connected.
func (t *trial) calm(ctx context.Context) error {
	stop, cancel := context.WithTimeout(ctx, max(time.Second, t.time/20))
	defer cancel()
	if err := t.ask(ctx, stop); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := within(soon, func() error { return t.cluster.connected(soon, t.conns) }); err != nil {
		return err
	}
	executed, err := t.cluster.records()
	if err != nil {
		return err
	}
	entries := t.journal.all()
	problems := append(check(entries, executed), checkOrderly(entries, executed)...)
	t.journal.forget() // so that it isn't measured
	return t.failed(problems)
}

// storm has the load run while the nemesis is at it, and a little longer.
func (t *trial) storm(ctx context.Context) (*nemesis, error) {
	n := &nemesis{cluster: t.cluster, every: t.every, orderly: t.orderly, resolve: t.resolve, seed: t.seed, log: io.Discard}
	if t.verbose {
		n.log = t.out
	}
	storm, cancel := context.WithTimeout(ctx, t.time)
	defer cancel()
	over := make(chan struct{})
	stop, end := context.WithCancel(ctx)
	defer end()
	go func() {
		defer close(over)
		n.run(storm)
		_ = pause(ctx, time.Second)
		end()
	}()
	err := t.ask(ctx, stop)
	<-over
	return n, errors.Join(append(n.errs, err)...)
}

// ask has the load run until stop ends, and all that it has asked for has.
func (t *trial) ask(ctx context.Context, stop context.Context) error {
	l := &load{cli: t.cli, journal: t.journal, workers: map[kind]int{}, think: t.think, seed: t.seed}
	for _, k := range kinds() {
		l.workers[k] = t.workers
	}
	ended := make(chan struct{})
	go func() { defer close(ended); l.run(stop) }()
	select {
	case <-ended:
		return nil
	case <-stop.Done():
	}
	select {
	case <-ended:
		return ctx.Err()
	case <-ctx.Done():
		return fmt.Errorf("%w, and %d calls, messages and streams are open", ctx.Err(), t.journal.open())
	case <-time.After(deadline + 5*time.Second):
		return fmt.Errorf("%d calls, messages and streams have not ended, and their deadline was 5 s ago", t.journal.open())
	}
}

// compare compares what the client was told with what the servers have executed.
func (t *trial) compare(ctx context.Context, n *nemesis) error {
	soon, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := within(soon, func() error { return t.cluster.connected(soon, t.conns) }); err != nil {
		return fmt.Errorf("after all faults are gone: %w", err)
	}
	executed, err := t.cluster.records()
	if err != nil {
		return err
	}
	entries := t.journal.all()
	n.print(t.out)
	rows := account(entries, executed)
	printAccount(t.out, rows)
	if t.verbose {
		printReasons(t.out, entries)
	}
	problems := check(entries, executed)
	if t.orderly {
		problems = append(problems, checkOrderly(entries, executed)...)
	}
	for _, k := range kinds() {
		if rows[k].succeeded == 0 {
			problems = append(problems, fmt.Sprintf("no %s has ended well, so nothing is proven", k))
		}
	}
	if n.kills == 0 {
		problems = append(problems, "no server was killed, so nothing is proven")
	}
	return t.failed(problems)
}

// failed returns the problems as an error, or nil if there are none.
func (t *trial) failed(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	more := ""
	if len(problems) > shown {
		more = fmt.Sprintf("\nand %d more", len(problems)-shown)
	}
	return fmt.Errorf("%d problems (the seed is %d):\n%s%s", len(problems), t.seed, strings.Join(problems[:min(shown, len(problems))], "\n"), more)
}

// settle complains if the client doesn't return to what it took before.
func (t *trial) settle(ctx context.Context) error {
	t.journal = nil // which has grown, as it should
	rest, cancel := context.WithTimeout(ctx, t.rest)
	defer cancel()
	var now usage
	err := within(rest, func() error { now = measure(); return now.grown(t.before) })
	fmt.Fprintf(t.out, "the client had %v before, and has %v after\n", t.before, now)
	return err
}
