package service

import (
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc"
)

// Serve puts all routes of a Router, and of those that share its root, on the bus, as QueueBind would: each request goes to one instance. The route's path
// is the subject by PatternOf: /user/{id} is user.* within the service, and a caller reaches it by Call(ctx, "/user/7", ...) or, if it is
// a path without slashes, by the same text. Middleware of the Router counts, and not that of the Service; a NotFound handler takes what matches a
// route's subject and not its path. What is registered later is not bound. Unbind ends all of it.
//
// The error says which path can't be a subject, or why nothing could be bound.
func (s *Service) Serve(r *flyrpc.Router) (*Binding, error) {
	b := s.bind(controlToken, s.name)
	b.subjects, b.wrong = nil, nil
	seen := map[string]bool{}
	for _, route := range r.Routes() {
		pattern := PatternOf(route.Path)
		subject := s.opts.subject(s.name, pattern)
		if err := CheckSubject(subject, true); err != nil || pattern == controlToken {
			return nil, fmt.Errorf("service: Serve: the path %q can't be a subject: %w", route.Path, errors.Join(err, errOwnToken(pattern)))
		}
		if !seen[subject] {
			seen[subject] = true
			b.subjects = append(b.subjects, subject)
		}
	}
	if len(b.subjects) == 0 {
		return nil, errors.New("service: Serve: the Router has no routes")
	}
	b.serve(r)
	if err := b.begin(handled, nil); err != nil {
		return nil, err
	}
	return b, nil
}

// errOwnToken says that a subject is FlyRPC's own, if it is.
func errOwnToken(pattern string) error {
	if pattern == controlToken {
		return fmt.Errorf("%w: %s is FlyRPC's own", ErrBadSubject, pattern)
	}
	return nil
}
