package main

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// proxy is an HTTP proxy that knows CONNECT alone, and one address to connect to.
type proxy struct {
	addr   string
	target string
	srv    http.Server
}

// startProxy starts a proxy on a free port of this machine.
func startProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: l.Addr().String(), target: target}
	p.srv.Handler = p
	p.srv.ReadHeaderTimeout = 5 * time.Second
	go func() { _ = p.srv.Serve(l) }()
	return p, nil
}

// stop closes the proxy to new requests. The tunnels end when those at their ends hang up.
func (p *proxy) stop() { p.srv.Close() }

// ServeHTTP makes a tunnel of a request's connection.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodConnect:
		http.Error(w, "this proxy takes CONNECT alone", http.StatusMethodNotAllowed)
		return
	case r.Host != p.target:
		http.Error(w, "this proxy doesn't lead there", http.StatusForbidden)
		return
	}
	far, err := net.DialTimeout("tcp", r.Host, 5*time.Second)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer near.Close()
	defer far.Close()
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err == nil {
		tunnel(near, buffered, far)
	}
}

// tunnel carries bytes both ways until both ends have hung up. fromNear is what is read of near.
func tunnel(near net.Conn, fromNear io.Reader, far net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { carry(far, fromNear) })
	both.Go(func() { carry(near, far) })
	both.Wait()
}

// carry copies until there is no more, and passes that on too.
func carry(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
