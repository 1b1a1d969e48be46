package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/growth"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// The parts of a run, and where the server is.
const (
	partCalls  = "calls"
	partIdle   = "idle"
	partOpen   = "open"
	partGrowth = "growth"

	oneProcess   = "one"
	twoProcesses = "two"
)

const (
	// maxInFlight leaves out what would be mostly about memory.
	maxInFlight = 64 << 20
	// openCallers is how many calls may be open at once when they are made at a fixed rate.
	openCallers = 1024
)

// Case is one measurement, for a process of its own.
type Case struct {
	Part, Mode, Peer string
	Size             int // of the payload
	Callers          int
	Rate             int          // calls each second, for partOpen
	Conns            int          // for partIdle
	Point            growth.Point // for partGrowth, which may also have a Rate and Conns
	Time             time.Duration
}

// setting describes what is the same for all peers that are compared.
func (c Case) setting() string {
	switch c.Part {
	case partGrowth:
		return "growth, " + c.Point.Axis + ", " + pointName(c.Point)
	case partIdle:
		return fmt.Sprintf("%d idle connections", c.Conns)
	case partOpen:
		return fmt.Sprintf("%s at %d calls/s", sizeName(c.Size), c.Rate)
	}
	callers := "callers"
	if c.Callers == 1 {
		callers = "caller"
	}
	return fmt.Sprintf("%s, %d %s, %s", sizeName(c.Size), c.Callers, callers, processes(c.Mode))
}

// processes says what a mode is.
func processes(mode string) string {
	if mode == oneProcess {
		return "one process"
	}
	return "two processes"
}

// shared returns the case without its peer.
func (c Case) shared() Case {
	c.Peer = ""
	return c
}

// plan is what to measure.
type plan struct {
	peers          []peers.Peer
	parts          []string
	modes          []string
	sizes          []int
	callers, rates []int
	conns          int
	growth         growthPlan
	rounds         int
	time           time.Duration
	out            string
}

// sizeNames are the sizes by what a message of them is called.
func sizeNames() map[string]int {
	return map[string]int{"64B": peers.Small, "1KiB": peers.Medium, "1MiB": peers.Large}
}

// sizeName returns what a message with a payload of size bytes is called.
func sizeName(size int) string {
	for name, s := range sizeNames() {
		if s == size {
			return name
		}
	}
	return fmt.Sprintf("%dB", size)
}

// parsePlan reads the command line.
func parsePlan(args []string, usage io.Writer) (*plan, error) {
	p := new(plan)
	fs := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	fs.SetOutput(usage)
	names := fs.String("peers", "", "the `names` of peers, or what they begin with (default all)")
	parts := fs.String("parts", "calls,open,idle", "what to measure: `calls,open,idle`, or growth")
	modes := fs.String("modes", "one,two", "the server in `one` process with the callers, or in two")
	sizes := fs.String("size", "64B,1KiB,1MiB", "the `sizes` of messages")
	callers := fs.String("callers", "1,8,16,128,1024", "the `numbers` of callers on one connection")
	rates := fs.String("rates", "1000,5000,20000", "calls each second of the open loop")
	fs.IntVar(&p.conns, "conns", 5000, "idle connections")
	readGrowth := p.growth.flags(fs)
	fs.IntVar(&p.rounds, "rounds", 5, "how many times to measure each")
	fs.DurationVar(&p.time, "time", 2*time.Second, "how long each measurement takes")
	fs.StringVar(&p.out, "out", "benchmarks/results", "the `folder` for tables and plots; \"\" for none")
	quick := fs.Bool("quick", false, "measure a little of everything, to see whether it runs")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		quicken(fs)
	}
	err := errors.Join(
		pick(&p.parts, *parts, []string{partCalls, partOpen, partIdle, partGrowth}),
		pick(&p.modes, *modes, []string{oneProcess, twoProcesses}),
		numbers(&p.callers, *callers),
		numbers(&p.rates, *rates),
		p.pickSizes(*sizes),
		p.pickPeers(*names),
		readGrowth(),
	)
	if err != nil {
		return nil, err
	}
	if fs.NArg() > 0 || p.rounds < 1 || p.conns < 1 || p.time <= 0 {
		return nil, fmt.Errorf("these make no sense: %s", strings.Join(args, " "))
	}
	return p, nil
}

// quicken lowers the flags that weren't given.
func quicken(fs *flag.FlagSet) {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"callers": "1,16", "rates": "1000", "conns": "200", "rounds": "1", "time": "100ms", "out": "",
		"parts": "calls,open,idle,growth", "growth-conns": "1,100", "growth-routes": "1,100",
		"growth-flight": "1,100", "growth-payload": "16,65536",
	} {
		if !given[name] {
			_ = fs.Set(name, value)
		}
	}
}

// pick reads a list of names that are known.
func pick(to *[]string, list string, known []string) error {
	for _, name := range strings.Split(list, ",") {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
		}
		*to = append(*to, name)
	}
	return nil
}

// numbers reads a list of numbers above zero.
func numbers(to *[]int, list string) error {
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number above 0", text)
		}
		*to = append(*to, n)
	}
	return nil
}

func (p *plan) pickSizes(list string) error {
	for _, name := range strings.Split(list, ",") {
		size, ok := sizeNames()[name]
		if !ok {
			return fmt.Errorf("%q is no size: use 64B, 1KiB, 1MiB", name)
		}
		p.sizes = append(p.sizes, size)
	}
	return nil
}

// pickPeers picks peers by the beginnings of their names.
func (p *plan) pickPeers(list string) error {
	all := peers.All()
	for _, name := range strings.Split(list, ",") {
		found := false
		for _, peer := range all {
			if strings.HasPrefix(peer.Name, name) {
				found = true
				if !slices.ContainsFunc(p.peers, func(q peers.Peer) bool { return q.Name == peer.Name }) {
					p.peers = append(p.peers, peer)
				}
			}
		}
		if !found {
			return fmt.Errorf("no peer's name begins with %q", name)
		}
	}
	return nil
}

// cases returns all measurements in order: in each round all settings, and in each of them all
// peers, with another one first in each round.
func (p *plan) cases() []Case {
	var list []Case
	for round := range p.rounds {
		for _, setting := range p.settings() {
			if setting.Part == partGrowth {
				list = append(list, setting)
				continue
			}
			for i := range p.peers {
				peer := p.peers[(i+round)%len(p.peers)]
				if takesPart(peer, setting) {
					c := setting
					c.Peer = peer.Name
					list = append(list, c)
				}
			}
		}
	}
	return list
}

// settings returns what is measured with each peer.
func (p *plan) settings() []Case {
	var list []Case
	for _, part := range p.parts {
		switch part {
		case partCalls:
			list = append(list, p.callSettings()...)
		case partOpen:
			for _, rate := range p.rates {
				list = append(list, Case{
					Part: part, Mode: twoProcesses, Size: peers.Small, Callers: openCallers, Rate: rate, Time: p.time,
				})
			}
		case partIdle:
			list = append(list, Case{Part: part, Mode: twoProcesses, Size: peers.Small, Conns: p.conns, Time: p.time})
		case partGrowth:
			list = append(list, p.growthSettings()...)
		}
	}
	return list
}

func (p *plan) callSettings() []Case {
	var list []Case
	for _, mode := range p.modes {
		for _, size := range p.sizes {
			for _, callers := range p.callers {
				if size*callers <= maxInFlight {
					list = append(list, Case{Part: partCalls, Mode: mode, Size: size, Callers: callers, Time: p.time})
				}
			}
		}
	}
	return list
}

// takesPart reports whether a setting is for the peer.
func takesPart(p peers.Peer, c Case) bool {
	switch c.Part {
	case partOpen:
		return !p.Raw
	case partIdle:
		return !p.Raw || p.Alone
	}
	return !p.Alone || c.Callers == 1
}

// estimate returns how long it will take if nothing hangs.
func (p *plan) estimate(cases []Case) time.Duration {
	var all time.Duration
	for _, c := range cases {
		all += p.time + p.time/warmPart + 200*time.Millisecond
		if c.Part == partGrowth {
			all += growthTime(c.Point)
		}
	}
	return all
}
