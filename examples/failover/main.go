// Command failover has one client with the addresses of three servers, each a process of its own, and kills them: it prints what
// becomes of calls that were in flight, of those that come while a server is gone, and of a stream. examples/chaos does the same all the time, and
// compares what the client was told with what the servers have executed.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

func main() {
	log.SetFlags(0)
	if text := os.Getenv(inChild); text != "" { // this process is a server
		if err := runServer(text); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run starts three servers and a client, and plays with them.
func run(ctx context.Context) error {
	servers, err := startNodes("a", "b", "c")
	if err != nil {
		return err
	}
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.addr)
	}
	p := &play{servers: servers, back: make(chan string, 100)}
	p.cli = flyrpc.NewClient("tcp://"+strings.Join(addrs, ","), &flyrpc.ClientOpts{
		Reconnect: flyrpc.Reconnect{Backoff: 20 * time.Millisecond, MaxPause: 100 * time.Millisecond, OnReconnect: p.connected},
	})
	p.cli.OnMessage("/working", p.working)
	return errors.Join(p.acts(ctx), p.cli.Close(), killAll(servers))
}
