package peers

import (
	"context"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/echopb"
)

const grpcMethod = "/flyrpc.benchmarks.Echo/Echo"

// The windows of HTTP/2, for grpc and connect: that of a stream holds a large message. With them
// set, grpc sends no pings to find out what they should be.
const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
)

// echoService is the interface that generators make for the service.
type echoService interface {
	Echo(ctx context.Context, m *echopb.Message) (*echopb.Message, error)
}

type echoServer struct{}

// Echo returns its argument.
func (echoServer) Echo(_ context.Context, m *echopb.Message) (*echopb.Message, error) { return m, nil }

// grpcService is what protoc-gen-go-grpc makes for the service.
func grpcService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "flyrpc.benchmarks.Echo",
		HandlerType: (*echoService)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: grpcHandler}},
		Metadata:    "echo.proto",
	}
}

func grpcHandler(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	in := new(echopb.Message)
	if err := dec(in); err != nil {
		return nil, err
	}
	if interceptor == nil {
		return srv.(echoService).Echo(ctx, in)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: grpcMethod}
	return interceptor(ctx, in, info, func(ctx context.Context, req any) (any, error) {
		return srv.(echoService).Echo(ctx, req.(*echopb.Message))
	})
}

func serveGRPC() (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	srv := grpc.NewServer(
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow))
	srv.RegisterService(grpcService(), echoServer{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	return &Server{Addr: l.Addr().String(), Close: func() {
		srv.Stop()
		<-done
	}}, nil
}

type grpcClient struct{ *grpc.ClientConn }

func dialGRPC(addr string) (Client, error) {
	c, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow))
	return grpcClient{c}, err
}

func (c grpcClient) Caller(m *Message) func() (Message, error) {
	opts := []grpc.CallOption{grpc.StaticMethod()} // as in generated clients
	return protoCaller(m, func(ctx context.Context, in *echopb.Message) (*echopb.Message, error) {
		out := new(echopb.Message)
		err := c.Invoke(ctx, grpcMethod, in, out, opts...)
		return out, err
	})
}
