package peers

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/echopb"
)

const (
	natsSubject = "echo"
	natsTimeout = 30 * time.Second
	natsPayload = 8 << 20 // the default, 1 MiB, is less than the large message
)

// serveNATS embeds a server, and the responder in the same process, which needs no socket.
func serveNATS() (*Server, error) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: natsPayload,
	})
	if err != nil {
		return nil, err
	}
	srv.Start()
	stop := func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	if !srv.ReadyForConnections(natsTimeout) {
		stop()
		return nil, errors.New("the NATS server isn't ready")
	}
	nc, err := respondNATS(srv)
	if err != nil {
		stop()
		return nil, err
	}
	return &Server{Addr: srv.ClientURL(), Close: func() {
		nc.Close()
		stop()
	}}, nil
}

// respondNATS subscribes the handler.
func respondNATS(srv *server.Server) (*nats.Conn, error) {
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return nil, err
	}
	_, err = nc.Subscribe(natsSubject, func(msg *nats.Msg) {
		var m echopb.Message
		if err := proto.Unmarshal(msg.Data, &m); err != nil {
			return // the caller's time runs out
		}
		if out, err := proto.Marshal(&m); err == nil {
			_ = msg.Respond(out)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

type natsClient struct{ *nats.Conn }

func dialNATS(addr string) (Client, error) {
	nc, err := nats.Connect(addr)
	if err != nil {
		return nil, err
	}
	return natsClient{nc}, nil
}

func (c natsClient) Caller(m *Message) func() (Message, error) {
	return protoCaller(m, func(_ context.Context, in *echopb.Message) (*echopb.Message, error) {
		data, err := proto.Marshal(in)
		if err != nil {
			return nil, err
		}
		msg, err := c.Request(natsSubject, data, natsTimeout)
		if err != nil {
			return nil, err
		}
		out := new(echopb.Message)
		return out, proto.Unmarshal(msg.Data, out)
	})
}

// Close closes the connection.
func (c natsClient) Close() error {
	c.Conn.Close()
	return nil
}
