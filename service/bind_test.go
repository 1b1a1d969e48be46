package service_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/go-flyrpc/flyrpc"
)

// TestBindToService: a stub is bound to a service as it is to a connection, by subjects and by paths.
func TestBindToService(t *testing.T) {
	bubble(t, func(t *net) {
		svc := t.service("users", nil)
		t.to(svc.QueueBind("user.get"), func(q *lookup) (*user, error) {
			if q.ID == 0 {
				return nil, flyrpc.Errorf(flyrpc.NotFound, "nobody")
			}
			return &user{q.ID, "Ada"}, nil
		})
		stopped := make(chan error, 1)
		t.to(svc.QueueBind("all"), func(ctx *flyrpc.Context, from int) iter.Seq2[*user, error] {
			return func(yield func(*user, error) bool) {
				for ; yield(&user{ID: from}, nil); from++ {
					continue
				}
				<-ctx.Done()
				stopped <- ctx.Err()
			}
		})
		t.to(svc.QueueBind("count"), func(users iter.Seq2[*user, error]) (n int, err error) {
			for _, err := range users {
				if err != nil {
					return 0, err
				}
				n++
			}
			return n, nil
		})
		seen := make(chan string, 1)
		t.to(svc.QueueBind("seen"), func(name string) { seen <- name })
		var users struct {
			Get   func(context.Context, lookup) (*user, error)       `fly:"user.get"`
			Path  func(context.Context, *lookup) (user, error)       `fly:"/user/get"`
			All   func(context.Context, int) iter.Seq2[*user, error] `fly:"all"`
			Count func(context.Context, iter.Seq[user]) (int, error) `fly:"count"`
			Seen  func(context.Context, string) error                `fly:"seen,oneway"`
			None  func(context.Context) error                        `fly:"none"`
		}
		t.check(flyrpc.Bind(t.service("web", nil).Service("users"), &users))
		ctx := t.Context()
		if u, err := users.Get(ctx, lookup{7}); err != nil || *u != (user{7, "Ada"}) {
			t.Errorf("Get: %+v, %v", u, err)
		}
		if u, err := users.Path(ctx, &lookup{8}); err != nil || u != (user{8, "Ada"}) {
			t.Errorf("Path: %+v, %v", u, err)
		}
		if u, err := users.Get(ctx, lookup{}); u != nil || !errors.Is(err, flyrpc.NotFound) || flyrpc.Outcome(err) != flyrpc.Answered {
			t.Errorf("nobody: %+v, %v, %v", u, err, flyrpc.Outcome(err))
		}
		var ids []int
		for u, err := range users.All(ctx, 3) {
			t.check(err)
			if ids = append(ids, u.ID); len(ids) == 3 {
				break
			}
		}
		if err := <-stopped; fmt.Sprint(ids) != "[3 4 5]" || !errors.Is(err, context.Canceled) {
			t.Errorf("All: %v, and its handler ended with %v", ids, err)
		}
		if n, err := users.Count(ctx, slices.Values([]user{{ID: 1}, {ID: 2}})); n != 2 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		t.check(users.Seen(ctx, "Ada"))
		if name := <-seen; name != "Ada" {
			t.Errorf("Seen: %s", name)
		}
		if err := users.None(ctx); !errors.Is(err, flyrpc.Unavailable) || flyrpc.Outcome(err) != flyrpc.NotProcessed {
			t.Errorf("None: %v, %v", err, flyrpc.Outcome(err))
		}
	})
}
