package natsbus

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/service"
)

// accounts are those of a broker where two may call a service of a third.
const accounts = `
accounts {
  W { users: [{user: w, password: x}], exports: [{service: "worker.>", response_type: RESPONSES}] }
  A { users: [{user: a, password: x}], imports: [{service: {account: W, subject: "worker.>"}}] }
  B { users: [{user: b, password: x}], imports: [{service: {account: W, subject: "worker.>"}}] }
}`

// permissions are those of a broker where a service may answer each request once.
const permissions = `
authorization {
  users: [
    {user: w, password: x, permissions: {publish: "worker.>", subscribe: ">", allow_responses: {max: RESPONSES}}}
    {user: a, password: x}
    {user: b, password: x}
  ]
}`

// Answers to clients of different accounts, whose reply subjects look alike where the service is, don't get mixed up. Where a request may be answered
// only once, requests don't travel together.
func TestAccounts(t *testing.T) {
	for _, test := range []struct{ name, config, responses string }{
		{"stream", accounts, "stream"},
		{"singleton", accounts, "singleton"},
		{"allowed once", permissions, "1"},
		{"allowed any number of times", permissions, "-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testAccounts(t, strings.Replace(test.config, "RESPONSES", test.responses, 1))
		})
	}
}

func testAccounts(t *testing.T, config string) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	srv := broker(t, opts)
	start := func(user, name string) *service.Service {
		bus, err := Connect(srv.ClientURL(), quiet(), nats.UserInfo(user, "x"))
		if err != nil {
			t.Fatal(err)
		}
		svc := service.New(name, bus, &service.Opts{RequestTimeout: 5 * time.Second})
		t.Cleanup(func() {
			svc.Close()
			bus.Close()
		})
		return svc
	}
	const calls = 100
	worker := start("w", "worker")
	var begun sync.WaitGroup
	begun.Add(2 * calls)
	err = worker.QueueBind("work").To(func(v int) int {
		if v >= 0 {
			begun.Done()
			begun.Wait() // so that all answers are ready together
		}
		return v
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Self().Request(t.Context(), "work", -1).Into(nil); err != nil { // the broker knows of it now
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, user := range []string{"a", "b"} {
		c := start(user, "caller").Service("worker")
		if err := c.Request(t.Context(), "work", -1).Into(nil); err != nil { // requests travel together from now on
			t.Fatal(err)
		}
		for j := range calls {
			wg.Go(func() {
				want, got := i*calls+j, 0
				if err := c.Request(t.Context(), "work", want).Into(&got); err != nil || got != want {
					t.Errorf("account %s got %d for %d, %v", user, got, want, err)
				}
			})
		}
	}
	wg.Wait()
}
