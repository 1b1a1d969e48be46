package service_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc/service"
)

// known is a bus on which services can be found.
type known struct {
	service.Bus
	fail error

	mu     sync.Mutex
	all    []service.Instance
	status []func() []service.Endpoint
	stops  int
}

func (k *known) Announce(i service.Instance, status func() []service.Endpoint) (stop func() error, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return nil, k.fail
	}
	k.all, k.status = append(k.all, i), append(k.status, status)
	return func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.stops++
		return nil
	}, nil
}

// A service is announced once, with its first binding, for as long as it is open.
func TestAnnounce(t *testing.T) {
	bubble(t, func(t *net) {
		for _, end := range []func(s *service.Service) error{(*service.Service).Close, func(s *service.Service) error { return s.Shutdown(t.Context()) }} {
			bus := &known{Bus: t.bus.Join()}
			s := service.New("s", bus, &service.Opts{Version: "1.2.3", Description: "text", Meta: map[string]string{"k": "v"}})
			if len(bus.all) != 0 {
				t.Error("it is announced before anything is bound")
			}
			t.to(s.QueueBind("one"), func(fail bool) error {
				if fail {
					return errors.New("no")
				}
				return nil
			})
			t.to(s.Bind("two"), func() {})
			if len(bus.all) != 1 {
				t.Fatalf("it is announced %d times", len(bus.all))
			}
			i := bus.all[0]
			if i.Name != "s" || i.ID != s.ID() || i.Version != "1.2.3" || i.Description != "text" || i.Meta["k"] != "v" || i.Started.IsZero() {
				t.Errorf("the instance is %+v", i)
			}
			t.check(s.Self().Request(t.Context(), "one", false).Into(nil))
			_ = s.Self().Request(t.Context(), "one", true).Into(nil)
			found := map[string]service.Endpoint{}
			for _, e := range bus.status[0]() {
				found[e.Subject] = e
			}
			one, two := found["s.one"], found["s.two"]
			if len(found) != 2 || one.Queue != "s" || one.Requests != 2 || one.Errors != 1 || one.LastError == "" || two.Queue != "" || two.Requests != 0 {
				t.Errorf("the endpoints are %+v", found)
			}
			t.check(end(s))
			t.check(s.Close())
			if bus.stops != 1 {
				t.Errorf("it was taken back %d times", bus.stops)
			}
		}
	})
}

// A bus that can't announce a service still carries it.
func TestAnnounceFails(t *testing.T) {
	bubble(t, func(t *net) {
		bus := &known{Bus: t.bus.Join(), fail: errors.New("not now")}
		s := service.New("s", bus, nil)
		defer s.Close()
		t.to(s.QueueBind("x"), func() {})
		t.check(s.Self().Request(t.Context(), "x", nil).Into(nil))
	})
}
