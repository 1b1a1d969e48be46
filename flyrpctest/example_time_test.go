package flyrpctest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

// A timeout of an hour, in no time: what an example, which has no *testing.T, can't show.
func TestHour(t *testing.T) {
	real := time.Now()
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/report", flyrpctest.Hang())
		cli := flyrpctest.NewClient(t, srv, nil)

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		err := cli.Call(ctx, "/report", nil, nil)
		if !errors.Is(err, flyrpc.Timeout) || time.Since(begin) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
	if d := time.Since(real); d > time.Minute {
		t.Errorf("the hour took %v", d)
	}
}
