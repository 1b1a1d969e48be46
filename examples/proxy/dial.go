package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// dialFunc is what ClientOpts.DialFunc takes.
type dialFunc func(ctx context.Context, addr string) (net.Conn, error)

// through returns what dials through the HTTP proxy at a host and port. The address is the one that the
// client has, a URL or a bare host:port.
func through(proxy string) dialFunc {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		target, err := transport.ParseAddr(addr)
		if err != nil {
			return nil, err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", proxy)
		if err != nil {
			return nil, err
		}
		if err := connect(ctx, conn, target.Host); err != nil {
			conn.Close()
			return nil, fmt.Errorf("the proxy: %w", err)
		}
		return conn, nil
	}
}

// connect asks the proxy at the other end of conn for a tunnel to target.
func connect(ctx context.Context, conn net.Conn, target string) error {
	// What waits on the connection ends when ctx does.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, Host: target, URL: &url.URL{Host: target}}
	if err := req.Write(conn); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("CONNECT %s: %s", target, resp.Status)
	case r.Buffered() > 0: // a FlyRPC server waits for its client to speak
		return errors.New("something comes through the tunnel before anything was sent")
	case !stop():
		return ctx.Err()
	}
	return nil
}

// throughProxy runs a proxy that leads to the server alone, and tries to get elsewhere too.
func throughProxy(ctx context.Context, server string) error {
	p, err := startProxy(server)
	if err != nil {
		return err
	}
	defer p.stop()
	opts := &flyrpc.ClientOpts{DialFunc: through(p.addr)}
	if err := greet(ctx, flyrpc.NewClient("tcp://"+server, opts), "through the proxy"); err != nil {
		return err
	}

	elsewhere := flyrpc.NewClient("elsewhere.example:7000", opts)
	defer elsewhere.Close()
	err = elsewhere.Connect(ctx)
	if !errors.Is(err, flyrpc.Unavailable) {
		return fmt.Errorf("the proxy didn't refuse: %v", err)
	}
	fmt.Printf("elsewhere: %v (%v)\n", err, flyrpc.Outcome(err))
	return nil
}
