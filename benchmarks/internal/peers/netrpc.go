package peers

import (
	"net"
	"net/rpc"
)

// netRPCService is the service of net/rpc, which looks its methods up by
// reflection: they have to be exported.
type netRPCService struct{}

// Echo returns its argument.
func (netRPCService) Echo(m, reply *Message) error {
	*reply = *m
	return nil
}

func serveNetRPC() (*Server, error) {
	srv := rpc.NewServer()
	if err := srv.RegisterName("Echo", netRPCService{}); err != nil {
		return nil, err
	}
	return serveConns(func(c net.Conn) { srv.ServeConn(c) })
}

type netRPCClient struct{ *rpc.Client }

func dialNetRPC(addr string) (Client, error) {
	c, err := rpc.Dial("tcp", addr)
	return netRPCClient{c}, err
}

func (c netRPCClient) Caller(m *Message) func() (Message, error) {
	return func() (Message, error) {
		var reply Message
		err := c.Call("Echo.Echo", m, &reply)
		return reply, err
	}
}
