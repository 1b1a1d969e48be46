package peers

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/echopb"
)

const connectProcedure = "/flyrpc.benchmarks.Echo/Echo"

// maxStreams lets HTTP/2 carry all callers on one connection; the default is 250.
const maxStreams = 2048

// plainHTTP2 is HTTP/2 without TLS and nothing else.
func plainHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// serveConnect registers the handler as the generated NewEchoHandler does.
func serveConnect() (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(connectProcedure, connect.NewUnaryHandler(connectProcedure,
		func(_ context.Context, r *connect.Request[echopb.Message]) (*connect.Response[echopb.Message], error) {
			return connect.NewResponse(r.Msg), nil
		}))
	srv := &http.Server{
		Handler: mux, Protocols: plainHTTP2(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
		},
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

type connectClient struct {
	transport *http.Transport
	client    *connect.Client[echopb.Message, echopb.Message]
}

// dialConnect returns a client that takes no compressed answers: the server would compress all.
func dialConnect(addr string) (Client, error) {
	t := &http.Transport{Protocols: plainHTTP2()}
	return connectClient{t, connect.NewClient[echopb.Message, echopb.Message](
		&http.Client{Transport: t}, "http://"+addr+connectProcedure,
		connect.WithAcceptCompression("gzip", nil, nil),
	)}, nil
}

func (c connectClient) Caller(m *Message) func() (Message, error) {
	return protoCaller(m, func(ctx context.Context, in *echopb.Message) (*echopb.Message, error) {
		out, err := c.client.CallUnary(ctx, connect.NewRequest(in))
		if err != nil {
			return nil, err
		}
		return out.Msg, nil
	})
}

func (c connectClient) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}
