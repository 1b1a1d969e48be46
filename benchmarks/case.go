package main

import (
	"encoding/json"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/measure"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// warmPart of a measurement's time, and it alone, goes before it.
const warmPart = 4

// The part of the open files that no connection needs, and who dials at once.
const (
	otherFiles = 200
	dialers    = 16
	settleTime = time.Second
)

// Metrics are what a measurement has found, by the titles of columns.
type Metrics map[string]float64

// The columns of tables.
const (
	colRate    = "calls/s"
	colRatio   = "of the fastest"
	colP50     = "p50 µs"
	colP99     = "p99 µs"
	colP999    = "p99.9 µs"
	colLate    = "begun late, p50 µs"
	colCPU     = "CPU µs"
	colAllocs  = "allocations"
	colAlloced = "B allocated"
	colWrites  = "writes"
	colWire    = "B written"

	colServerGo  = "server, Go B"
	colServerRes = "server, resident B"
	colClientGo  = "client, Go B"
	colClientRes = "client, resident B"
)

// measureCase measures a case, which comes as JSON, and writes its metrics as JSON.
func measureCase(arg string, out io.Writer) error {
	c, p, err := parseCase(arg)
	if err != nil {
		return err
	}
	if c.Conns > 0 {
		if err := measure.AllowFiles(uint64(c.Conns + otherFiles)); err != nil {
			return err
		}
	}
	s, err := startServer(c, p)
	if err != nil {
		return err
	}
	defer s.close()
	var m Metrics
	switch c.Part {
	case partIdle:
		m, err = idle(c, p, s)
	case partGrowth:
		m, err = grow(c, p, s)
	default:
		m, err = calls(c, p, s)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(m)
}

// parseCase returns a case that comes as JSON, and its peer.
func parseCase(arg string) (c Case, p peers.Peer, err error) {
	if err := json.Unmarshal([]byte(arg), &c); err != nil {
		return c, p, err
	}
	if c.Part == partGrowth {
		p, err = c.Point.Peer()
	} else {
		p, err = peers.Find(c.Peer)
	}
	return c, p, err
}

// calls measures calls on one connection.
func calls(c Case, p peers.Peer, s *server) (Metrics, error) {
	client, err := p.Dial(s.addr)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := checkOne(client, peers.NewMessage(c.Size)); err != nil {
		return nil, err
	}
	if c.Part != partOpen {
		return closedLoad(c, client, s)
	}
	result, err := c.load(client, s).Open(c.Rate)
	if err != nil {
		return nil, err
	}
	return callMetrics(result), nil
}

// closedLoad measures a client's calls, each as soon as the one before it has returned.
func closedLoad(c Case, client peers.Client, s *server) (Metrics, error) {
	result, err := c.load(client, s).Closed()
	if err != nil {
		return nil, err
	}
	return callMetrics(result), nil
}

// load returns what a client is to do.
func (c Case) load(client peers.Client, s *server) *measure.Load {
	return &measure.Load{
		Client: client, Message: peers.NewMessage(c.Size), Callers: c.Callers,
		Warmup: c.Time / warmPart, Time: c.Time, Usage: s.bothUsage,
	}
}

// checkOne makes a call and looks at the whole answer.
func checkOne(client peers.Client, m *peers.Message) error {
	echo, err := client.Caller(m)()
	if err != nil {
		return err
	}
	return m.Check(&echo)
}

// bothUsage returns what client and server have used together.
func (s *server) bothUsage() (measure.Usage, error) {
	if s.usage == nil {
		return measure.ReadUsage(), nil
	}
	other, err := s.usage()
	return measure.ReadUsage().Plus(other), err
}

// callMetrics divides what was used by the calls.
func callMetrics(r *measure.Calls) Metrics {
	n := float64(max(r.Latency.Total(), 1))
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return Metrics{
		colRate:    float64(r.Latency.Total()) / r.Time.Seconds(),
		colP50:     micros(r.Latency.Quantile(0.5)),
		colP99:     micros(r.Latency.Quantile(0.99)),
		colP999:    micros(r.Latency.Quantile(0.999)),
		colLate:    micros(r.Lateness.Quantile(0.5)),
		colCPU:     micros(r.Used.CPU) / n,
		colAllocs:  float64(r.Used.Mallocs) / n,
		colAlloced: float64(r.Used.Alloced) / n,
		colWrites:  float64(r.Used.Writes) / n,
		colWire:    float64(r.Used.Written) / n,
	}
}

// idle opens connections, makes one call on each, and measures what they hold after that. One
// connection goes before them, for what a process makes once.
func idle(c Case, p peers.Peer, s *server) (Metrics, error) {
	first, err := dialAll(p, s.addr, 1)
	defer closeAll(first)
	if err != nil {
		return nil, err
	}
	server1, err := s.memory()
	if err != nil {
		return nil, err
	}
	client1 := measure.ReadMemory()
	clients, err := dialAll(p, s.addr, c.Conns)
	defer closeAll(clients)
	if err != nil {
		return nil, err
	}
	time.Sleep(settleTime)
	server2, err := s.memory()
	if err != nil {
		return nil, err
	}
	client2 := measure.ReadMemory()
	runtime.KeepAlive(clients)
	server, client, n := server2.Minus(server1), client2.Minus(client1), float64(c.Conns)
	return Metrics{
		colServerGo: float64(server.Go) / n, colServerRes: float64(server.Resident) / n,
		colClientGo: float64(client.Go) / n, colClientRes: float64(client.Resident) / n,
	}, nil
}

// dialAll opens n connections and makes one call on each. It returns those that are open.
func dialAll(p peers.Peer, addr string, n int) ([]peers.Client, error) {
	var (
		mu      sync.Mutex
		clients []peers.Client
		failed  error
		group   sync.WaitGroup
	)
	next := make(chan struct{}, n)
	for range n {
		next <- struct{}{}
	}
	close(next)
	m := peers.NewMessage(peers.Small)
	for range min(dialers, n) {
		group.Go(func() {
			for range next {
				client, err := p.Dial(addr)
				if err == nil {
					err = checkOne(client, m)
				}
				mu.Lock()
				if err != nil {
					failed = err
					mu.Unlock()
					return
				}
				clients = append(clients, client)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return clients, failed
}

func closeAll(clients []peers.Client) {
	for _, c := range clients {
		_ = c.Close()
	}
}
