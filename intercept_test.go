package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// noteInterceptor notes in log what passes it, and how it ended.
func noteInterceptor(name string, log *[]string, mu *sync.Mutex) Interceptor {
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		*log = append(*log, s)
	}
	return func(next Invoker) Invoker {
		return func(ctx context.Context, call *Outgoing) error {
			note(fmt.Sprintf("%s %s %v", name, call.Path, call.OneWay))
			err := next(ctx, call)
			note(name + " done")
			return err
		}
	}
}

func TestInterceptOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log []string
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func() {})
		cli := connectPipe(t, srv, &ClientOpts{Intercept: []Interceptor{noteInterceptor("a", &log, &mu), noteInterceptor("b", &log, &mu)}})
		want := "a /x %v, b /x %v, b done, a done"
		uses := map[string]func() error{
			"false": func() error { return cli.Call(context.Background(), "/x", nil, nil) },
			"true":  func() error { return cli.SendMessage(context.Background(), "/x", nil) },
			"false ": func() error {
				return cli.Go(context.Background(), "/x", nil, nil).Err()
			},
		}
		for oneWay, use := range uses {
			log = nil
			if err := use(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			oneWay = strings.TrimSpace(oneWay)
			if got := strings.Join(log, ", "); got != fmt.Sprintf(want, oneWay, oneWay) {
				t.Errorf("got %s", got)
			}
			mu.Unlock()
		}
	})
}

// An interceptor changes where a call goes and what it carries, both ways.
func TestInterceptChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/v2/double", func(ctx *Context, n int) string {
			return fmt.Sprint(2*n, ctx.Meta().Get("trace"))
		})
		cli := connectPipe(t, srv, &ClientOpts{Intercept: []Interceptor{func(next Invoker) Invoker {
			return func(ctx context.Context, call *Outgoing) error {
				if call.Conn == nil || call.Conn.ID() == 0 {
					t.Error("no connection")
				}
				call.Path = "/v2" + call.Path
				call.Message = call.Message.(int) + 1
				reply := call.Reply.(*string)
				var inner string
				call.Reply = &inner
				err := next(WithMeta(ctx, "trace", "t1"), call)
				*reply = "<" + inner + ">"
				return err
			}
		}}})
		got, err := Call[string](context.Background(), cli, "/double", 20)
		if err != nil || got != "<42t1>" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestInterceptRepeatsAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		tries := 0
		srv.OnMessage("/flaky", func() (int, error) {
			if tries++; tries < 3 {
				return 0, Busy
			}
			return tries, nil
		})
		errBreaker := errors.New("circuit is open")
		retry := func(next Invoker) Invoker {
			return func(ctx context.Context, call *Outgoing) (err error) {
				for range 5 {
					if err = next(ctx, call); !errors.Is(err, Busy) {
						return err
					}
				}
				return err
			}
		}
		refuse := func(next Invoker) Invoker {
			return func(ctx context.Context, call *Outgoing) error {
				if call.Path == "/closed" {
					return errBreaker
				}
				return next(ctx, call)
			}
		}
		cli := connectPipe(t, srv, &ClientOpts{Intercept: []Interceptor{retry, refuse}})
		if n, err := Call[int](context.Background(), cli, "/flaky", nil); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		for _, err := range []error{
			cli.Call(context.Background(), "/closed", nil, nil),
			cli.Go(context.Background(), "/closed", nil, nil).Err(),
			cli.SendMessage(context.Background(), "/closed", nil),
		} {
			if err != errBreaker {
				t.Errorf("got %v", err)
			}
		}
		if _, err := cli.Ping(0, 0); err != nil {
			t.Errorf("Ping: %v", err)
		}
	})
}

// Calls that a client's own handlers make pass the interceptors as well, and so do those
// of a connection that was kept.
func TestInterceptEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log []string
		srv := quietServer(t, nil)
		srv.OnMessage("/add", func(n int) int { return n + 1 })
		cli := connectPipe(t, srv, &ClientOpts{Intercept: []Interceptor{noteInterceptor("i", &log, &mu)}})
		cli.OnMessage("/relay", func(ctx *Context, n int) (sum int, err error) {
			err = ctx.Call("/add", n, &sum)
			return sum, err
		})
		synctest.Wait()
		if n, err := Call[int](context.Background(), srv.Conns()[0], "/relay", 1); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := Call[int](context.Background(), cli.Conn(), "/add", 1); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if got := strings.Join(log, ", "); got != "i /add false, i done, i /add false, i done" {
			t.Errorf("got %s", got)
		}
	})
}
