// Command chaos proves what a client says of its calls. Three servers, each a process of its own behind a proxy, are killed one after the other
// and started again, while the proxies delay, cut, hold, lose and refuse, and one Client with three addresses makes calls, sends
// messages and receives and sends streams. Each server writes down what it executes. In the end what the client was told is
// compared with that:
//
//   - what is said to be NotSent or NotProcessed was executed by nobody,
//   - what was answered was executed as the answer says,
//   - what isn't idempotent was executed once at most, whatever the client was told,
//   - nothing that is idempotent has failed, and streams that resume have every item once and in order,
//   - the client takes no more goroutines and memory than before, and has one connection to each server.
//
// The servers' processes are this program again.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// config is what the flags say.
type config struct {
	time     time.Duration // how long servers are killed
	every    time.Duration // between two of them
	orderly  bool          // they are shut down instead, and the network is well
	moves    bool          // the client is told other addresses now and then
	strategy flyrpc.Strategy
	hedge    time.Duration
	conns    int // to each server
	workers  int // of each kind
	think    time.Duration
	rest     time.Duration // how long the client has in the end to let go of what it doesn't need any more
	seed     uint64
	verbose  bool
}

func main() {
	log.SetFlags(0)
	if text := os.Getenv(inChild); text != "" {
		if err := runServer(text); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var c config
	strategy := flag.String("strategy", "robin", "`how` the server for a call is chosen: robin, least or sticky")
	flag.DurationVar(&c.time, "time", time.Minute, "how `long` servers are killed")
	flag.DurationVar(&c.every, "every", time.Second, "how `long` after one server the next is killed")
	flag.BoolVar(&c.orderly, "orderly", false, "shut the servers down instead, and leave the network alone: then no call at all may fail")
	flag.BoolVar(&c.moves, "moves", false, "have a Resolver tell the client other addresses now and then")
	flag.DurationVar(&c.hedge, "hedge", 100*time.Millisecond, "how `long` an idempotent call waits before a second server is asked; 0 for ever")
	flag.IntVar(&c.conns, "conns", 1, "how `many` connections the client has to each server")
	flag.IntVar(&c.workers, "workers", 8, "how `many` calls, messages and streams of each kind are open at once")
	flag.DurationVar(&c.think, "think", 10*time.Millisecond, "how `long` each pauses between two, on average")
	flag.DurationVar(&c.rest, "rest", 15*time.Second, "how `long` the client has in the end to let go of what it doesn't need any more")
	limit := flag.Duration("limit", 2*time.Minute, "how `long` all of it may take")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "what chance begins with: a `number`")
	flag.BoolVar(&c.verbose, "v", false, "print what is done to the servers")
	flag.Parse()
	known := map[string]flyrpc.Strategy{"robin": flyrpc.RoundRobin, "least": flyrpc.LeastInFlight, "sticky": flyrpc.Sticky}
	var ok bool
	if c.strategy, ok = known[*strategy]; !ok || flag.NArg() > 0 || c.workers < 1 || c.conns < 1 || c.time <= 0 || c.every <= 0 || c.think < 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, c, os.Stdout); err != nil {
		log.Fatal(err)
	}
}
