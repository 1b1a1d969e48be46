// Command misbehave shows what clients that misbehave cost those that don't. A server in a process of its own
// holds many connections. First all of them behave: most make calls at a fixed rate, the others, which another process
// has, are idle. Then the idle ones are replaced by connections that misbehave in nine ways, each replaced by another as often as the
// server cuts it. Both parts take turns a few times. It prints the times of the good calls in both parts of each round, what the server took of
// memory, and what it did with the bad connections.
//
// The other processes are this program again. It needs a Unix system.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"
)

// config is what the flags say.
type config struct {
	conns    int           // connections altogether
	bad      float64       // the part of them that misbehaves, in percent
	way      string        // what the names of the ways contain in which they do
	rate     float64       // good calls a second, by all connections together
	rounds   int           // how often both parts are measured
	warm     time.Duration // how long each part runs before it is measured
	measure  time.Duration // how long it is measured
	patience time.Duration // the server's timeouts
	gogc     string        // the server's GOGC
	rest     time.Duration // how long the server has in the end to let go of what it doesn't need any more
	yield    bool          // the process of the bad connections waits for cores
	most     float64       // the largest ratio of the 99th percentiles, in the median of the rounds
}

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if text := os.Getenv(inChild); text != "" {
		if err := runChild(text); err != nil {
			log.Fatal(err)
		}
		return
	}
	var c config
	flag.IntVar(&c.conns, "conns", 5000, "how many connections there are")
	flag.Float64Var(&c.bad, "bad", 10, "how many of them misbehave, in `percent`")
	flag.StringVar(&c.way, "way", "", "misbehave only in the ways whose names contain this `text`")
	flag.Float64Var(&c.rate, "rate", 1000, "good calls a `second`, by all connections together")
	flag.IntVar(&c.rounds, "rounds", 3, "how often both parts are measured, in turns")
	flag.DurationVar(&c.warm, "warm", 4*time.Second, "how `long` each part runs before it is measured")
	flag.DurationVar(&c.measure, "time", 10*time.Second, "how `long` each part is measured")
	flag.DurationVar(&c.patience, "patience", 2*time.Second, "the server's timeouts")
	flag.StringVar(&c.gogc, "gogc", "400", "the server's `GOGC`, which for Go is 100 if nothing is said: how much garbage there may be, in percent of what lives")
	flag.DurationVar(&c.rest, "rest", 12*time.Second, "how `long` the server has in the end to let go of goroutines it doesn't need any more")
	flag.BoolVar(&c.yield, "yield", true, "have the process of the bad connections wait for cores while another has work, as if it were elsewhere; on Linux")
	flag.Float64Var(&c.most, "most", 3, "fail if the 99th percentile with bad clients, of the times from when a call is begun, is more than so many `times` that without, in the median of the rounds; 0 for any")
	flag.Parse()
	if flag.NArg() > 0 || c.conns < 1 || c.bad < 0 || c.bad > 90 || c.rate <= 0 || c.rounds < 1 || c.measure <= 0 || c.patience <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	r, err := run(ctx, c, os.Stdout)
	if err == nil {
		err = r.verdict(c.most)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run measures both parts and prints what it finds.
func run(ctx context.Context, c config, out io.Writer) (*result, error) {
	if err := roomFor(c.conns); err != nil {
		return nil, err
	}
	chosen := ways(c.way)
	if len(chosen) == 0 {
		return nil, fmt.Errorf("there is no way to misbehave whose name contains %q", c.way)
	}
	srv, err := startServer(ctx, c.patience, c.gogc)
	if err != nil {
		return nil, err
	}
	defer srv.Close()
	others, err := startOthers(srv.addr)
	if err != nil {
		return nil, err
	}
	defer others.Close()
	if c.yield {
		if err := others.yield(ctx); err != nil {
			return nil, err
		}
	}
	bad := int(float64(c.conns) * c.bad / 100)
	book := newBook()
	fmt.Fprintf(out, "%d connections, %g calls a second by %d of them, each part %v\n", c.conns, c.rate, c.conns-bad, c.measure)

	good, err := connect(ctx, srv.addr, c.conns-bad, book, "good")
	if err != nil {
		return nil, err
	}
	defer good.close()
	r := &result{chosen: chosen}
	for n := range c.rounds {
		fmt.Fprintf(out, "\nround %d\n", n+1)
		if err := r.measure(ctx, c, out, good, srv, others, bad); err != nil {
			return nil, err
		}
	}
	sessions, err := others.end(ctx)
	if err != nil {
		return nil, err
	}
	book.add(sessions)
	if err := r.settle(ctx, srv, book, len(good.clients), c.rest); err != nil {
		return nil, err
	}
	r.print(out)
	return r, nil
}

// measure measures both parts once. It leaves the bad connections.
func (r *result) measure(ctx context.Context, c config, out io.Writer, good *clients, srv *server, o *others, bad int) error {
	err := o.idle(ctx, bad)
	if err != nil {
		return err
	}
	without, err := measure(ctx, c, good, srv)
	if err != nil {
		return err
	}
	without.print(out, fmt.Sprintf("the other %d idle", bad))
	if err := o.misbehave(ctx, bad, c.way); err != nil {
		return err
	}
	with, err := measure(ctx, c, good, srv)
	if err != nil {
		return err
	}
	with.print(out, fmt.Sprintf("the other %d misbehaving", bad))
	r.rounds = append(r.rounds, round{without, with})
	return nil
}
