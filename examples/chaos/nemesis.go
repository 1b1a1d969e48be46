package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
)

// nemesis does to the cluster what the world does.
type nemesis struct {
	cluster cluster
	every   time.Duration // between two ends of a process
	orderly bool          // processes are told to shut down, and the network is well
	resolve *resolver     // whose addresses change, or nil
	seed    uint64
	log     io.Writer

	mu     sync.Mutex
	begun  time.Time
	kills  int
	moves  int
	faults map[string]int
	errs   []error
}

// run goes on until ctx ends, and leaves all processes running and the network well.
func (n *nemesis) run(ctx context.Context) {
	n.begun, n.faults = time.Now(), map[string]int{}
	var all sync.WaitGroup
	all.Go(func() { n.killAll(ctx) })
	if !n.orderly {
		all.Go(func() { n.injectAll(ctx) })
	}
	if n.resolve != nil {
		all.Go(func() { n.moveAll(ctx) })
	}
	all.Wait()
	n.note(n.cluster.heal())
}

// killAll ends one process after the other, and starts it again.
func (n *nemesis) killAll(ctx context.Context) {
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	r := rand.New(rand.NewPCG(n.seed, 1))
	last := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Another one than the last, which may have no connection yet.
		last = (last + 1 + r.IntN(len(n.cluster)-1)) % len(n.cluster)
		node := n.cluster[last]
		end := node.kill
		if n.orderly {
			end = node.shutDown
		}
		n.say("server %s ends", node.name)
		n.note(end())
		if !n.orderly {
			time.Sleep(upTo(r, n.every/4))
		}
		n.note(node.start())
		n.mu.Lock()
		n.kills++
		n.mu.Unlock()
	}
}

// fault is one that is injected. reset ends the connections afterwards.
type fault struct {
	name  string
	reset bool
	netfault.Faults
}

// randomFault returns one of all kinds.
func randomFault(r *rand.Rand) fault {
	all := []fault{
		{"latency", false, netfault.Faults{Latency: upTo(r, 50*time.Millisecond)}},
		{"slices", false, netfault.Faults{Slice: 1 + r.IntN(100)}},
		{"slow slices", false, netfault.Faults{Slice: 1 + r.IntN(1000), Latency: upTo(r, 20*time.Millisecond)}},
		{"hold", false, netfault.Faults{Hold: true}},
		{"hold and reset", true, netfault.Faults{Hold: true}},
		{"reset", true, netfault.Faults{}},
		{"half open up", false, netfault.Faults{LoseUp: true}},
		{"half open down", false, netfault.Faults{LoseDown: true}},
		{"half open down and reset", true, netfault.Faults{LoseDown: true}},
		{"black hole", false, netfault.Faults{BlackHole: true}},
		{"refuse", true, netfault.Faults{Refuse: true}},
	}
	return all[r.IntN(len(all))]
}

// injectAll injects one fault after the other. Of the servers one at most has a fault, while another may be killed.
func (n *nemesis) injectAll(ctx context.Context) {
	r := rand.New(rand.NewPCG(n.seed, 2))
	for ctx.Err() == nil {
		node, f := n.cluster[r.IntN(len(n.cluster))], randomFault(r)
		n.say("server %s: %s", node.name, f.name)
		n.note(node.proxy.Set(f.Faults))
		_ = pause(ctx, upTo(r, 600*time.Millisecond))
		if f.reset {
			node.proxy.Reset()
		}
		n.note(node.proxy.Heal())
		n.mu.Lock()
		n.faults[f.name]++
		n.mu.Unlock()
		_ = pause(ctx, upTo(r, 400*time.Millisecond))
	}
}

// moveAll changes the addresses that the client is told: some of the servers, in any order. In the end it is all of them.
func (n *nemesis) moveAll(ctx context.Context) {
	r := rand.New(rand.NewPCG(n.seed, 3))
	addrs := n.cluster.addrs()
	for pause(ctx, upTo(r, n.every)) == nil {
		r.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		some := 1 + r.IntN(len(addrs))
		n.say("the addresses are %d", some)
		n.resolve.set(addrs[:some])
		n.moves++
	}
	n.resolve.set(addrs)
}

// say logs what happens, and when.
func (n *nemesis) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.log, "%6.2fs %s\n", time.Since(n.begun).Seconds(), fmt.Sprintf(format, args...))
}

// note keeps an error of the world itself.
func (n *nemesis) note(err error) {
	if err == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errs = append(n.errs, err)
}
