package flyrpc

import (
	"errors"
	"net"
	"net/http"
)

// ServeHTTP serves calls by HTTP, and WebSockets. It may be mounted in any mux under any path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "not served", http.StatusNotFound)
}

// serveHTTP serves a connection that begins with an HTTP method.
func (e *entrant) serveHTTP(net.Conn) error {
	return errors.New("flyrpc: the client speaks HTTP, which is not served")
}
