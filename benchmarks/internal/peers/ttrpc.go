package peers

import (
	"context"
	"net"

	"github.com/containerd/ttrpc"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/echopb"
)

const ttrpcService = "flyrpc.benchmarks.Echo"

// ttrpcDesc is what protoc-gen-go-ttrpc makes for the service.
func ttrpcDesc(srv echoService) *ttrpc.ServiceDesc {
	return &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Echo": func(ctx context.Context, unmarshal func(any) error) (any, error) {
			var in echopb.Message
			if err := unmarshal(&in); err != nil {
				return nil, err
			}
			return srv.Echo(ctx, &in)
		},
	}}
}

func serveTTRPC() (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	srv, err := ttrpc.NewServer()
	if err != nil {
		return nil, err
	}
	srv.RegisterService(ttrpcService, ttrpcDesc(echoServer{}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(context.Background(), l)
	}()
	return &Server{Addr: l.Addr().String(), Close: func() {
		srv.Close()
		<-done
	}}, nil
}

type ttrpcClient struct{ *ttrpc.Client }

func dialTTRPC(addr string) (Client, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return ttrpcClient{ttrpc.NewClient(c)}, nil
}

func (c ttrpcClient) Caller(m *Message) func() (Message, error) {
	return protoCaller(m, func(ctx context.Context, in *echopb.Message) (*echopb.Message, error) {
		var out echopb.Message
		err := c.Call(ctx, ttrpcService, "Echo", in, &out)
		return &out, err
	})
}
