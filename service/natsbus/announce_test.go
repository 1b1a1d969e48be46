package natsbus

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// askAll asks as NATS's own tools do: everybody who listens answers. It waits for so many answers, and a while for more.
func askAll[T any](t *testing.T, nc *nats.Conn, subject string, want int) (answers []T) {
	t.Helper()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(subject, inbox, nil); err != nil {
		t.Fatal(err)
	}
	for {
		wait := 100 * time.Millisecond
		if len(answers) < want {
			wait = 10 * time.Second
		}
		m, err := sub.NextMsg(wait)
		if err != nil || m.Header.Get(statusHeader) != "" {
			return answers
		}
		var answer T
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
		answers = append(answers, answer)
	}
}

// Instances of services answer NATS's service protocol as those of its own micro package do, for as long as they run.
func TestAnnounce(t *testing.T) {
	s := embedded(t, nil)
	var instances []*service.Service
	for range 2 {
		svc := service.New("user-service", busOn(t, s, quiet()), &service.Opts{Version: "1.2.3", Description: "users", Meta: map[string]string{"zone": "a"}})
		defer svc.Close()
		err := svc.QueueBind("get").To(func(ctx *flyrpc.Context, id int) (string, error) {
			if id == 0 {
				return "", flyrpc.Errorf(flyrpc.BadRequest, "which one?")
			}
			return "Ada", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := svc.Bind("changed").To(func(string) {}); err != nil {
			t.Fatal(err)
		}
		instances = append(instances, svc)
	}
	ownConn := connTo(t, s)
	own, err := micro.AddService(ownConn, micro.Config{Name: "nats-own", Version: "0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := ownConn.Flush(); err != nil { // so that it is asked too
		t.Fatal(err)
	}
	defer func() { _ = own.Stop() }()
	caller := instances[0].Self()
	for id, want := range map[int]bool{0: false, 1: true, 2: true} {
		if err := caller.Request(t.Context(), "get", id).Into(nil); err == nil != want {
			t.Fatal(id, err)
		}
	}

	nc := connTo(t, s)
	ids := map[string]bool{}
	for _, p := range askAll[micro.Ping](t, nc, "$SRV.PING", 3) {
		ids[p.Name+" "+p.ID] = true
		if p.Type != micro.PingResponseType {
			t.Errorf("the type is %q", p.Type)
		}
	}
	want := []string{"nats-own " + own.Info().ID, "user-service " + instances[0].ID(), "user-service " + instances[1].ID()}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, want) {
		t.Errorf("PING is answered by %v, not %v", got, want)
	}
	checkInfo(t, askAll[micro.Info](t, nc, "$SRV.INFO.user-service", 2))
	eventually(t, "count of what was handled", func(context.Context) bool { // which follows the answers
		return checkStats(t, askAll[micro.Stats](t, nc, "$SRV.STATS.user-service", 2))
	})
	if one := askAll[micro.Ping](t, nc, "$SRV.PING.user-service."+instances[1].ID(), 1); len(one) != 1 || one[0].ID != instances[1].ID() {
		t.Errorf("one instance answers %v", one)
	}
	if err := instances[1].Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := askAll[micro.Ping](t, nc, "$SRV.PING.user-service", 1); len(left) != 1 {
		t.Errorf("after one was shut down %d answer", len(left))
	}
}

func checkInfo(t *testing.T, infos []micro.Info) {
	t.Helper()
	if len(infos) != 2 {
		t.Fatalf("INFO is answered by %d", len(infos))
	}
	for _, i := range infos {
		if i.Version != "1.2.3" || i.Description != "users" || i.Metadata["zone"] != "a" || i.Type != micro.InfoResponseType || len(i.Endpoints) != 2 {
			t.Fatalf("INFO is %+v", i)
		}
		for _, e := range i.Endpoints {
			if queue := map[string]string{"user-service.get": "user-service", "user-service.changed": ""}; queue[e.Subject] != e.QueueGroup {
				t.Errorf("an endpoint is %+v", e)
			}
		}
	}
}

// checkStats reports whether three requests and an error were counted.
func checkStats(t *testing.T, stats []micro.Stats) bool {
	t.Helper()
	requests, errs, last := 0, 0, ""
	for _, s := range stats {
		if s.Type != micro.StatsResponseType || time.Since(s.Started) > time.Minute || time.Until(s.Started) > 0 {
			t.Errorf("STATS is %+v", s)
		}
		for _, e := range s.Endpoints {
			requests, errs, last = requests+e.NumRequests, errs+e.NumErrors, last+e.LastError
			if e.AverageProcessingTime > e.ProcessingTime || string(e.Data) != `{"dropped":0}` {
				t.Errorf("an endpoint's STATS are %+v", e)
			}
		}
	}
	return requests == 3 && errs == 1 && last != ""
}

func TestAnnounceRefuses(t *testing.T) {
	b := busOn(t, embedded(t, nil), quiet())
	status := func() []service.Endpoint { return nil }
	for _, i := range []service.Instance{{}, {Name: "a"}, {Name: "a", ID: "b.c"}} {
		if _, err := b.Announce(i, status); err == nil {
			t.Errorf("%+v was announced", i)
		}
	}
	stop, err := b.Announce(service.Instance{Name: "a.b", ID: "c"}, status)
	if err != nil {
		t.Fatal(err)
	}
	if got := askAll[micro.Info](t, b.Conn(), "$SRV.INFO.a_b.c", 1); len(got) != 1 || got[0].Endpoints == nil || got[0].Metadata == nil {
		t.Errorf("got %+v", got)
	}
	if err := b.Publish(&service.Message{Subject: "$SRV.PING"}); err != nil { // without a reply subject
		t.Error(err)
	}
	for range 2 {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	b.Close()
	if _, err := b.Announce(service.Instance{Name: "a", ID: "b"}, status); err == nil {
		t.Error("a closed bus announces")
	}
}
