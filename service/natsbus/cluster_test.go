package natsbus

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
)

// brokerConfig is what a broker of a cluster is told.
type brokerConfig struct {
	Name, Dir string
	Routes    []string
}

// brokerPorts is what it says when it is ready: where it listens. When it has all that JetStream keeps, it says "ok".
type brokerPorts struct{ Clients, Routes string }

// runBroker is the role of a broker.
func runBroker(config []byte, ready func(any), stop <-chan struct{}) error {
	var c brokerConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	s, err := Embedded(&EmbeddedOpts{
		Name: c.Name, Listen: "127.0.0.1:0", JetStream: true, Dir: c.Dir, StartTimeout: startTime,
		Cluster: &ClusterOpts{Name: "cluster", Listen: "127.0.0.1:0", Routes: c.Routes},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	ready(brokerPorts{strings.TrimPrefix(s.URL(), "nats://"), s.srv.ClusterAddr().String()})
	go func() {
		for s.srv.Healthz(nil).Error != "" {
			time.Sleep(20 * time.Millisecond)
		}
		ready("ok")
	}()
	<-stop
	return s.Close()
}

// brokers is how many servers a cluster has.
const brokers = 3

// cluster is one of real servers, each in a process of its own. All connections go through proxies.
type cluster struct {
	dir     string
	brokers [brokers]*process
	clients [brokers]*netfault.Proxy          // to each broker
	routes  [brokers][brokers]*netfault.Proxy // from each broker to each other
}

// startCluster starts a cluster, which ends with the test.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir()}
	t.Cleanup(func() {
		showLogs(t, c.dir)
		c.close()
	})
	for i := range brokers {
		c.clients[i] = proxy(t)
		for j := range brokers {
			if i != j {
				c.routes[i][j] = proxy(t)
			}
		}
	}
	for i := range brokers {
		if err := c.start(i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range brokers {
		if err := c.healthy(i); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// proxy starts a proxy whose target isn't there yet.
func proxy(t *testing.T) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(nowhere)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start starts a broker, again if it has been there before, and leads the proxies to it.
func (c *cluster) start(i int) error {
	name := fmt.Sprint("broker", i)
	config := brokerConfig{Name: name, Dir: filepath.Join(c.dir, name)}
	for j := range brokers {
		if i != j {
			config.Routes = append(config.Routes, c.routes[i][j].Addr())
		}
	}
	var ports brokerPorts
	p, err := startChild(name, "broker", c.dir, config, &ports)
	if err != nil {
		return err
	}
	c.brokers[i] = p
	c.clients[i].SetTarget(ports.Clients)
	for j := range brokers {
		if i != j {
			c.routes[j][i].SetTarget(ports.Routes)
		}
	}
	return nil
}

// healthy waits until a broker has all that JetStream keeps.
func (c *cluster) healthy(i int) error {
	var said string
	return c.brokers[i].hear(&said)
}

// restart starts a broker again that has ended, and waits until it is healthy.
func (c *cluster) restart(i int) error {
	if err := c.start(i); err != nil {
		return err
	}
	return c.healthy(i)
}

// isolate separates a broker from the others, not from its clients, or ends that.
func (c *cluster) isolate(i int, f netfault.Faults) error {
	for j := range brokers {
		if i == j {
			continue
		}
		for _, p := range []*netfault.Proxy{c.routes[i][j], c.routes[j][i]} {
			if err := p.Set(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// url returns the addresses of all brokers, beginning with one of them.
func (c *cluster) url(first int) string {
	var urls []string
	for i := range brokers {
		urls = append(urls, "nats://"+c.clients[(first+i)%brokers].Addr())
	}
	return strings.Join(urls, ",")
}

// close ends all.
func (c *cluster) close() {
	for i := range brokers {
		if c.brokers[i] != nil {
			c.brokers[i].kill()
		}
		if c.clients[i] != nil {
			c.clients[i].Close()
		}
		for _, p := range c.routes[i] {
			if p != nil {
				p.Close()
			}
		}
	}
}

// bus returns a Bus whose connection begins with one broker.
func (c *cluster) bus(t *testing.T, first int) *Bus {
	t.Helper()
	b, err := Connect(c.url(first), clusterOpts(), clusterConn()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// clusterOpts and clusterConn are the options of Buses on a cluster.
func clusterOpts() *Opts {
	return &Opts{Store: StoreOpts{Replicas: brokers}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), SendTimeout: 20 * time.Second}
}

func clusterConn() []nats.Option {
	return []nats.Option{nats.DontRandomize(), nats.ReconnectWait(50 * time.Millisecond), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2)}
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	for !holds(ctx) {
		if sleep(ctx, 20*time.Millisecond) != nil {
			t.Fatalf("no %s within %v", what, startTime)
		}
	}
}
