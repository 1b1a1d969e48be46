package middleware

import "context"

// Principal is who makes a call. Handlers share it with the function that made it: it isn't changed any more.
type Principal struct {
	// Name is for logs, and for RateLimit with ByIdentity. It is no secret.
	Name string
	// Roles are those it has.
	Roles []string
	// Value is the program's own.
	Value any
}

// PrincipalOf returns who makes the call that ctx belongs to, as Auth has found out, or nil: without Auth, and on paths that are Public.
func PrincipalOf(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey).(*Principal)
	return p
}
