package command_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/command"
	"github.com/go-flyrpc/flyrpc/transport"
)

// childEnv makes the test program the child of a test.
const childEnv = "FLYRPC_COMMAND_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// child speaks commands over its standard input and output until the parent closes them.
func child() {
	p := command.New(&command.Options{Server: flyrpc.ServerOpts{Logger: slog.New(slog.DiscardHandler)}})
	p.On("upper", func(ctx *flyrpc.Context, s string) (string, error) {
		var suffix string
		err := command.Of(ctx.Conn()).Call(ctx, "suffix", nil, &suffix)
		return s + suffix, err
	})
	nc, err := transport.Stdio()
	if err != nil {
		panic(err)
	}
	conn, err := p.Connect(nc)
	if err != nil {
		panic(err)
	}
	if err := conn.Fire(context.Background(), "started", os.Getpid()); err != nil {
		panic(err)
	}
	<-conn.Done()
	p.Close()
}
