package natsbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/go-flyrpc/flyrpc/service"
)

// announced is a running instance that answers NATS's service protocol: on $SRV.PING, $SRV.INFO and $SRV.STATS, each
// also with .name and .name.id behind it. What is asked is answered by one goroutine.
//
// It does by itself what micro.AddService would do, whose endpoints subscribe by themselves and can't be removed.
type announced struct {
	bus      *Bus
	identity micro.ServiceIdentity
	instance service.Instance
	status   func() []service.Endpoint
	subs     []*nats.Subscription
	asked    chan *nats.Msg
	stopped  chan struct{}
	close    func() error
}

// maxAsked is how many questions may wait; more are dropped.
const maxAsked = 64

// Announce is that of service.Discoverable. In the name of the service, what isn't a letter, a digit, - or _ becomes _, as NATS has it.
func (b *Bus) Announce(i service.Instance, status func() []service.Endpoint) (stop func() error, err error) {
	if i.Name == "" || i.ID == "" || plainName(i.ID) != i.ID {
		return nil, fmt.Errorf("natsbus: an instance needs a name, and an ID of letters, digits, - and _, not %q and %q", i.Name, i.ID)
	}
	meta := i.Meta
	if meta == nil {
		meta = map[string]string{} // as NATS's own tools expect
	}
	a := &announced{
		bus: b, instance: i, status: status,
		identity: micro.ServiceIdentity{Name: plainName(i.Name), ID: i.ID, Version: i.Version, Metadata: meta},
		asked:    make(chan *nats.Msg, maxAsked), stopped: make(chan struct{}),
	}
	a.close = sync.OnceValue(a.end)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, service.ErrBusClosed
	}
	if err := a.subscribe(); err != nil {
		return nil, err
	}
	b.subs[a] = struct{}{}
	go a.answer()
	return a.Close, nil
}

// subscribe subscribes to all subjects that are for the instance.
func (a *announced) subscribe() error {
	for _, verb := range []micro.Verb{micro.PingVerb, micro.InfoVerb, micro.StatsVerb} {
		for _, of := range [][2]string{{}, {a.identity.Name}, {a.identity.Name, a.identity.ID}} {
			subject, err := micro.ControlSubject(verb, of[0], of[1])
			var sub *nats.Subscription
			if err == nil {
				sub, err = a.bus.nc.ChanSubscribe(subject, a.asked)
			}
			if err != nil {
				return errors.Join(known(err), a.unsubscribe())
			}
			a.subs = append(a.subs, sub)
		}
	}
	return nil
}

// answer answers until the instance stops.
func (a *announced) answer() {
	for {
		select {
		case m := <-a.asked:
			data, err := json.Marshal(a.of(m.Subject))
			if err == nil && m.Reply != "" {
				err = m.Respond(data)
			}
			if err != nil {
				a.bus.opts.Logger.Warn("natsbus: a question about a service can't be answered", "subject", m.Subject, "error", err)
			}
		case <-a.stopped:
			return
		}
	}
}

// of returns the answer to what is asked on a subject.
func (a *announced) of(subject string) any {
	switch verb, _, _ := strings.Cut(strings.TrimPrefix(subject, micro.APIPrefix+"."), "."); verb {
	case micro.InfoVerb.String():
		return a.info()
	case micro.StatsVerb.String():
		return a.stats()
	default:
		return micro.Ping{ServiceIdentity: a.identity, Type: micro.PingResponseType}
	}
}

func (a *announced) info() micro.Info {
	info := micro.Info{
		ServiceIdentity: a.identity, Type: micro.InfoResponseType, Description: a.instance.Description,
		Endpoints: []micro.EndpointInfo{},
	}
	for _, e := range a.status() {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{
			Name: plainName(e.Subject), Subject: e.Subject, QueueGroup: e.Queue, Metadata: map[string]string{},
		})
	}
	return info
}

func (a *announced) stats() micro.Stats {
	stats := micro.Stats{
		ServiceIdentity: a.identity, Type: micro.StatsResponseType, Started: a.instance.Started.UTC(),
		Endpoints: []*micro.EndpointStats{},
	}
	for _, e := range a.status() {
		stats.Endpoints = append(stats.Endpoints, statsOf(e))
	}
	return stats
}

// statsOf returns what NATS's own tools show of an endpoint. What they have no place for is in Data.
func statsOf(e service.Endpoint) *micro.EndpointStats {
	s := &micro.EndpointStats{
		Name: plainName(e.Subject), Subject: e.Subject, QueueGroup: e.Queue,
		NumRequests: int(e.Requests), NumErrors: int(e.Errors), LastError: e.LastError, ProcessingTime: e.Busy,
		Data: json.RawMessage(fmt.Sprintf(`{"dropped":%d}`, e.Dropped)),
	}
	if e.Requests > 0 {
		s.AverageProcessingTime = e.Busy / time.Duration(e.Requests)
	}
	return s
}

// Close ends the answers.
func (a *announced) Close() error { return a.close() }

func (a *announced) end() error {
	close(a.stopped)
	a.bus.remove(a)
	return a.unsubscribe()
}

func (a *announced) unsubscribe() error {
	var errs []error
	for _, sub := range a.subs {
		errs = append(errs, ended(sub.Unsubscribe()))
	}
	return errors.Join(errs...)
}
