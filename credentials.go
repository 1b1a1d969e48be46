package flyrpc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
)

// Credentials are what a client shows to ServerOpts.Auth.
type Credentials struct {
	// Auth is the JSON object of the client's hello, or of the header Fly-Auth of an HTTP request, or nil.
	Auth json.RawMessage
	// Version is 2, or 1 for a peer that can't say hello, or 0 for one that doesn't speak packets: it calls
	// by HTTP, or sends JSON commands.
	Version int
	// Header is that of the HTTP request, with its cookies: of the call, or of a WebSocket's upgrade. Else it is nil.
	Header http.Header
	// RemoteAddr is the transport's.
	RemoteAddr net.Addr
	// TLS is the state of the TLS connection, or nil if there is none. The client's certificate
	// is PeerCertificates[0], and verified only if VerifiedChains isn't empty: see Conn.TLS.
	TLS *tls.ConnectionState
}

// Decode decodes the client's JSON object into v, a non-nil pointer. Without
// one, it returns an Error with Unauthenticated.
func (c *Credentials) Decode(v any) error {
	if len(c.Auth) == 0 {
		return Errorf(Unauthenticated, "no credentials: set ClientOpts.Auth")
	}
	if err := json.Unmarshal(c.Auth, v); err != nil {
		return Errorf(Unauthenticated, "credentials are no %s: %w", typeName(v), err)
	}
	return nil
}

// checkCredentials returns the identity that ServerOpts.Auth makes of a client's credentials, or why the client isn't let
// in: with UNAUTHENTICATED, unless the error has a code. Without Auth everybody is. It takes as long as HelloTimeout, or
// until ctx ends; a panic becomes an error.
func (s *Server) checkCredentials(ctx context.Context, cr *Credentials) (id any, err error) {
	if s.opts.Auth == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.ep.limits.helloTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			s.ep.log.Error("flyrpc: handler panicked", "path", "Auth", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			id, err = nil, Errorf(Internal, "the credentials could not be checked")
		}
	}()
	if id, err = s.opts.Auth(ctx, cr); err == nil {
		return id, nil
	}
	if w := s.ep.errors.toWire(err); w.code == Failed {
		err = Errorf(Unauthenticated, "%w", err)
	}
	return nil, err
}
