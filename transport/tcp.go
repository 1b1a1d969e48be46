package transport

import (
	"context"
	"net"
	"net/url"
	"strconv"
)

const schemeTCP = "tcp"

// TCP is the Transport for "tcp://host:port". The zero value is ready.
//
// The connections it dials and accepts are *net.TCPConn, so [Raw] works on
// them. TCP_NODELAY is on: a write leaves at once. Keepalive is on with Go's
// values: the first probe after 15 s without traffic, then one every 15 s, and
// after 9 without an answer the connection fails.
type TCP struct{}

// Schemes returns "tcp".
func (TCP) Schemes() []string { return []string{schemeTCP} }

// Dial connects to addr's host and port; without a host, to the local system. A
// host name with several addresses is tried in the way of net.Dialer.
func (TCP) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	hostPort, err := tcpHostPort(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", hostPort)
}

// Listen listens on addr's host and port; without a host on all interfaces,
// with port 0 on a free port that the listener's Addr tells.
func (TCP) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	hostPort, err := tcpHostPort(addr)
	if err != nil {
		return nil, err
	}
	var l net.ListenConfig
	return l.Listen(ctx, "tcp", hostPort)
}

// tcpHostPort returns what package net takes for a tcp URL.
func tcpHostPort(u *url.URL) (string, error) {
	if err := onlyHost(u); err != nil {
		return "", err
	}
	port := u.Port()
	if problem := portProblem(port); problem != "" {
		return "", &AddrError{u.String(), problem}
	}
	n, _ := strconv.ParseUint(port, 10, 16) // portProblem has checked it
	return net.JoinHostPort(u.Hostname(), strconv.FormatUint(n, 10)), nil
}
