package flyrpc

import (
	"context"
	"fmt"
	"runtime/debug"
)

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
