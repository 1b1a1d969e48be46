package peers

import (
	"context"
	"errors"
	"net"

	"google.golang.org/protobuf/proto"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcpool"
	"storj.io/drpc/drpcserver"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/echopb"
)

const drpcMethod = "/flyrpc.benchmarks.Echo/Echo"

// drpcEncoding and drpcDesc are what protoc-gen-go-drpc makes for the service.
type drpcEncoding struct{}

// Marshal encodes a message.
func (drpcEncoding) Marshal(msg drpc.Message) ([]byte, error) {
	return proto.Marshal(msg.(proto.Message))
}

// MarshalAppend encodes a message behind buf.
func (drpcEncoding) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(buf, msg.(proto.Message))
}

// Unmarshal decodes a message.
func (drpcEncoding) Unmarshal(buf []byte, msg drpc.Message) error {
	return proto.Unmarshal(buf, msg.(proto.Message))
}

type drpcDesc struct{}

// NumMethods returns how many methods there are.
func (drpcDesc) NumMethods() int { return 1 }

// Method returns the nth.
func (drpcDesc) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	if n != 0 {
		return "", nil, nil, nil, false
	}
	return drpcMethod, drpcEncoding{}, func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
		return srv.(echoService).Echo(ctx, in1.(*echopb.Message))
	}, echoService.Echo, true
}

func serveDRPC() (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	mux := drpcmux.New()
	if err := mux.Register(echoServer{}, drpcDesc{}); err != nil {
		l.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = drpcserver.New(mux).Serve(ctx, l)
	}()
	return &Server{Addr: l.Addr().String(), Close: func() {
		cancel()
		<-done
	}}, nil
}

// drpcClient calls on one connection, where calls wait for each other, or on those of a pool.
type drpcClient struct {
	drpc.Conn
	pool *drpcpool.Pool[string, *drpcconn.Conn]
}

func dialDRPC(addr string) (Client, error) {
	c, err := openDRPC(context.Background(), addr)
	return drpcClient{Conn: c}, err
}

func openDRPC(ctx context.Context, addr string) (*drpcconn.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return drpcconn.New(c), nil
}

func dialDRPCPool(addr string) (Client, error) {
	pool := drpcpool.New[string, *drpcconn.Conn](drpcpool.Options{})
	return drpcClient{pool.Get(context.Background(), addr, openDRPC), pool}, nil
}

func (c drpcClient) Caller(m *Message) func() (Message, error) {
	return protoCaller(m, func(ctx context.Context, in *echopb.Message) (*echopb.Message, error) {
		out := new(echopb.Message)
		err := c.Invoke(ctx, drpcMethod, drpcEncoding{}, in, out)
		return out, err
	})
}

// Close closes the connection, or the pool with all of its connections.
func (c drpcClient) Close() error {
	err := c.Conn.Close()
	if c.pool != nil {
		err = errors.Join(err, c.pool.Close())
	}
	return err
}
