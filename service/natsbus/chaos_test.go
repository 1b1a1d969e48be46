package natsbus

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/netfault"
	"github.com/go-flyrpc/flyrpc/service"
)

// chaosTime is how long brokers and instances are restarted, killed and cut off at random, after each of that was done once.
var chaosTime = flag.Duration("chaos", 0, "how long TestChaos goes on with what it does, at random")

// instances is how many instances of the service there are.
const instances = 5

// The senders of TestChaos, and how long they pause after each message.
const (
	senders     = 3
	senderPause = 2 * time.Millisecond
	quietCount  = 50 // messages that are sent when all is well
)

// chaos is a cluster with a service on it, and who sends to it.
type chaos struct {
	*testing.T
	*cluster
	ledger  ledger
	workers [instances]*process
	names   []string
	files   []string
	svc     *service.Service
	bus     *Bus
}

// TestChaos restarts, kills and cuts off brokers and instances of a service under load. Afterwards each message that was
// acknowledged has been handled.
func TestChaos(t *testing.T) {
	t.Parallel()
	c := &chaos{T: t, cluster: startCluster(t)}
	for i := range instances {
		c.names = append(c.names, fmt.Sprint("instance", i))
		c.files = append(c.files, filepath.Join(c.dir, c.names[i]))
	}
	t.Cleanup(func() {
		for _, p := range c.workers {
			if p != nil {
				p.kill()
			}
		}
	})
	for i := range instances {
		c.must(c.startWorker(i))
	}
	c.bus = c.cluster.bus(t, 0)
	c.svc = service.New("tester", c.bus, nil)
	defer c.svc.Close()
	c.quiet("before")
	c.load()
	c.quiet("after")
	c.Logf("acknowledged: %d durable messages, %d requests, %d broadcasts, %d messages for one",
		c.ledger.count(kindDurable), c.ledger.count(kindRequest), c.ledger.count(kindBroadcast), c.ledger.count(kindQueue))
	var problems []string
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		events, err := readEvents(c.files...)
		c.must(err)
		if problems = c.ledger.check(events, c.names); len(problems) == 0 {
			return
		}
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// must ends the test with an error.
func (c *chaos) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// startWorker starts an instance, again if it was there before.
func (c *chaos) startWorker(i int) (err error) {
	var said string
	c.workers[i], err = startChild(c.names[i], "instance", c.dir, instanceConfig{c.url(i % brokers), c.names[i], c.files[i]}, &said)
	return err
}

// load sends while the steps are done.
func (c *chaos) load() {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() { c.every(stop, func(n int) { c.sendDurable(stop, fmt.Sprintf("job-%d-%d", i, n)) }) })
		wg.Go(func() { c.every(stop, func(n int) { c.ask(fmt.Sprintf("ask-%d-%d", i, n)) }) })
	}
	defer wg.Wait()
	defer close(stop)
	c.steps()
}

// every does something until it is stopped.
func (c *chaos) every(stop <-chan struct{}, do func(n int)) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(senderPause):
			do(n)
		}
	}
}

// sendDurable sends a message until it is acknowledged, always with the same id.
func (c *chaos) sendDurable(stop <-chan struct{}, id string) {
	c.ledger.add(kindOther, id, "")
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := c.svc.Service(workerName).SendDurable(ctx, jobOf, id, id)
		cancel()
		if err == nil {
			c.ledger.add(kindDurable, id, "")
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// ask sends a request. If it fails, nothing was promised, but it has to be for a reason that there is.
func (c *chaos) ask(id string) {
	c.ledger.add(kindOther, id, "")
	var a answered
	err := c.svc.Service(workerName).RequestWithTimeout(context.Background(), askOf, id, 2*time.Second).Into(&a)
	switch {
	case err == nil && a.ID == id:
		c.ledger.add(kindRequest, id, a.Instance)
	case err == nil:
		c.Errorf("the answer to %s is that to %s", id, a.ID)
	case errors.Is(err, flyrpc.Timeout), errors.Is(err, flyrpc.Unavailable):
	default:
		c.Errorf("%s: %v", id, err)
	}
}

// steps does all that may happen once, and then more at random for as long as the flag says.
func (c *chaos) steps() {
	for i := range brokers {
		c.step("a broker restarts", i, func() error { return errors.Join(c.brokers[i].stop(), c.restart(i)) })
	}
	random := []func(){
		func() {
			i := rand.IntN(brokers)
			c.step("a broker is killed", i, func() error { c.brokers[i].kill(); return c.restart(i) })
		},
		func() {
			i := rand.IntN(instances)
			c.step("an instance is killed", i, func() error { c.workers[i].kill(); return c.startWorker(i) })
		},
		func() {
			i := rand.IntN(instances)
			c.step("an instance restarts", i, func() error { return errors.Join(c.workers[i].stop(), c.startWorker(i)) })
		},
		func() {
			i := rand.IntN(brokers)
			c.step("a broker is cut off", i, func() error {
				err := c.isolate(i, netfault.Faults{BlackHole: true})
				time.Sleep(2 * time.Second)
				return errors.Join(err, c.isolate(i, netfault.Faults{}))
			})
		},
	}
	for _, step := range random {
		step()
	}
	for end := time.Now().Add(*chaosTime); time.Now().Before(end); {
		random[rand.IntN(len(random))]()
	}
}

// step does one thing, says how much went on meanwhile, and lets it go on for a moment.
func (c *chaos) step(what string, i int, do func() error) {
	c.Helper()
	begun, jobs, asks := time.Now(), c.ledger.count(kindDurable), c.ledger.count(kindRequest)
	if err := do(); err != nil {
		c.Fatalf("%s (%d): %v", what, i, err)
	}
	time.Sleep(200 * time.Millisecond)
	c.Logf("%s (%d): %v, with %d durable messages and %d requests", what, i, time.Since(begun).Round(time.Millisecond),
		c.ledger.count(kindDurable)-jobs, c.ledger.count(kindRequest)-asks)
}

// quiet sends broadcasts and messages for one while nothing else happens, of which none may be lost or come twice.
func (c *chaos) quiet(when string) {
	to := c.svc.Service(workerName)
	send := func(subject, id string) {
		c.must(to.Send(c.Context(), subject, id))
	}
	heard := map[string]bool{}
	n := 0
	eventually(c.T, "broadcast that reaches all", func(context.Context) bool { // so that all brokers know of all instances
		n++
		id := fmt.Sprintf("warm-%s-%d", when, n)
		c.ledger.add(kindOther, id, "")
		send(newsOf, id)
		events, err := readEvents(c.files...)
		c.must(err)
		clear(heard)
		for _, e := range events {
			if e.Kind == kindBroadcast && strings.HasPrefix(e.ID, "warm-"+when) {
				heard[e.Instance] = true
			}
		}
		return len(heard) == instances
	})
	for i := range quietCount {
		news, task := fmt.Sprintf("news-%s-%d", when, i), fmt.Sprintf("task-%s-%d", when, i)
		send(newsOf, news)
		send(taskOf, task)
		c.ledger.add(kindBroadcast, news, "")
		c.ledger.add(kindQueue, task, "")
	}
}
