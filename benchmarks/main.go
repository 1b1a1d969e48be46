// The benchmarks command measures the same calls with FlyRPC and its peers, side by
// side, and writes tables and plots of them. See the README beside it.
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

func main() {
	log.SetFlags(0)
	if handled, err := child(os.Args[1:], os.Stdin, os.Stdout); handled {
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		stop()
		log.Fatal(err)
	}
}

// run measures what the arguments say. The tables go to out, and what is under way to progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	plan, err := parsePlan(args, progress)
	if err == flag.ErrHelp {
		return nil
	}
	if err != nil {
		return err
	}
	cases := plan.cases()
	if len(cases) == 0 {
		return fmt.Errorf("no peer can do any of that")
	}
	fmt.Fprintf(progress, "%d measurements, about %v\n", len(cases), plan.estimate(cases).Round(time.Second))
	results := newResults()
	failed := 0
	for i, c := range cases {
		fmt.Fprintf(progress, "%d/%d %s: %s\n", i+1, len(cases), c.setting(), c.Peer)
		metrics, err := startCase(ctx, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(progress, "%s, %s: %v\n", c.setting(), c.Peer, err)
			failed++
			continue
		}
		results.add(c, metrics)
	}
	if err := results.write(plan, out); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d measurements failed", failed, len(cases))
	}
	return nil
}
