package peers

import (
	"context"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/echopb"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// FlyrpcPath is where FlyRPC echoes.
const FlyrpcPath = "/echo"

// flyrpcPeers returns FlyRPC with each of its serializers, with a handler
// called by reflection and with one given to Handle.
func flyrpcPeers() []Peer {
	return []Peer{
		flyrpcPeer("flyrpc-msgpack", msgpack.Serializer, onPlain, dialFlyrpc),
		flyrpcPeer("flyrpc-msgpack-handle", msgpack.Serializer, handlePlain, dialFlyrpc),
		flyrpcPeer("flyrpc-json", json.Serializer, onPlain, dialFlyrpc),
		flyrpcPeer("flyrpc-json-handle", json.Serializer, handlePlain, dialFlyrpc),
		flyrpcPeer("flyrpc-protobuf", protobuf.Serializer, onProto, dialFlyrpcProto),
		flyrpcPeer("flyrpc-protobuf-handle", protobuf.Serializer, handleProto, dialFlyrpcProto),
	}
}

func onPlain(s *flyrpc.Server) {
	s.OnMessage(FlyrpcPath, func(_ *flyrpc.Context, m *Message) (*Message, error) { return m, nil })
}

func handlePlain(s *flyrpc.Server) {
	flyrpc.Handle(s, FlyrpcPath, func(_ *flyrpc.Context, m *Message) (*Message, error) { return m, nil })
}

func onProto(s *flyrpc.Server) {
	s.OnMessage(FlyrpcPath, func(_ *flyrpc.Context, m *echopb.Message) (*echopb.Message, error) { return m, nil })
}

func handleProto(s *flyrpc.Server) {
	flyrpc.Handle(s, FlyrpcPath, func(_ *flyrpc.Context, m *echopb.Message) (*echopb.Message, error) { return m, nil })
}

// flyrpcPeer returns a peer whose options are FlyRPC's defaults but for the serializer.
func flyrpcPeer(name string, ser serializer.Serializer, register func(*flyrpc.Server),
	dial func(*flyrpc.Client) Client,
) Peer {
	return Peer{
		Name: name,
		Serve: func() (*Server, error) {
			srv := flyrpc.NewServer(&flyrpc.ServerOpts{Serializers: []serializer.Serializer{ser}})
			register(srv)
			return ServeFlyrpc(srv)
		},
		Dial: func(addr string) (Client, error) {
			c, err := flyrpc.Dial(context.Background(), addr, &flyrpc.ClientOpts{Serializer: ser})
			if err != nil {
				return nil, err
			}
			return dial(c), nil
		},
	}
}

// ServeFlyrpc has srv serve a free port of loopback.
func ServeFlyrpc(srv *flyrpc.Server) (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	return &Server{Addr: l.Addr().String(), Close: func() {
		srv.Close()
		<-done
	}}, nil
}

func dialFlyrpc(c *flyrpc.Client) Client      { return FlyrpcClient{c} }
func dialFlyrpcProto(c *flyrpc.Client) Client { return flyrpcProtoClient{c} }

// FlyrpcClient is a Client whose messages are plain structs.
type FlyrpcClient struct{ *flyrpc.Client }

// Caller is Client's.
func (c FlyrpcClient) Caller(m *Message) func() (Message, error) {
	ctx := context.Background()
	return func() (Message, error) {
		var reply Message
		err := c.Call(ctx, FlyrpcPath, m, &reply)
		return reply, err
	}
}

type flyrpcProtoClient struct{ *flyrpc.Client }

func (c flyrpcProtoClient) Caller(m *Message) func() (Message, error) {
	return protoCaller(m, func(ctx context.Context, in *echopb.Message) (*echopb.Message, error) {
		reply := new(echopb.Message)
		err := c.Call(ctx, FlyrpcPath, in, reply)
		return reply, err
	})
}

// protoCaller returns the caller of a peer whose message is a Protocol Buffers one.
func protoCaller(m *Message, call func(context.Context, *echopb.Message) (*echopb.Message, error)) func() (Message, error) {
	ctx := context.Background()
	in := &echopb.Message{Id: m.ID, Name: m.Name, Payload: m.Payload}
	return func() (Message, error) {
		out, err := call(ctx, in)
		if err != nil {
			return Message{}, err
		}
		return Message{ID: out.Id, Name: out.Name, Payload: out.Payload}, nil
	}
}
