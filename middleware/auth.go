package middleware

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-flyrpc/flyrpc"
)

// AuthOptions are the options of Auth. At least one of Check and Identity has to be set, unless all Rules are Public.
type AuthOptions struct {
	// Rules say who may call what; a path that none of them names nobody may call. The pattern of a rule is one of
	//
	//   - a path, such as /user/get or user.get, which is that path alone;
	//   - a prefix with a slash at its end and three dots, such as /admin/..., which is every path that begins with
	//     /admin/, so /admin/ itself and /admin/a/b, but not /admin;
	//   - three dots, which are every path.
	//
	// Of those that name a path the most specific one holds, alone: the path itself, or else the longest prefix. So
	// {Roles("/a/...", "x"), Public("/a/b")} leaves /a/b open and asks for x in the rest of /a/. Paths are compared byte by
	// byte, as the Router does. Two rules with one pattern are an error.
	Rules []Rule
	// Key is the metadata key of the token. Default: DefaultTokenKey.
	Key string
	// Check says whose a token is, which isn't empty. An error refuses the call, with its code if it has one or else UNAUTHENTICATED; its text goes
	// to the caller. So does a nil Principal, with UNAUTHENTICATED. It may be called concurrently, for every call; ctx ends with the call.
	// Default: nil, and calls with a token are refused as if they had none.
	Check func(ctx context.Context, token string) (*Principal, error)
	// Identity says who a connection is, by what ServerOpts.Auth made of its client, which isn't nil. It is for calls without a token; a
	// token that is wrong is never made good by it. For the rest it is as Check. Default: nil, and the connection's identity counts for nothing.
	Identity func(ctx context.Context, identity any) (*Principal, error)
}

// Auth returns a Middleware that lets calls and messages through whose caller may make them, and refuses the others before
// their messages are decoded, as not processed: with UNAUTHENTICATED if it isn't known who calls, which a better token may
// change, and with FORBIDDEN if the caller is known and the path's rule asks for a role it doesn't have, or the
// path has no rule, whoever calls. The handler reads who it is with PrincipalOf.
//
// Middleware inside a Router comes after routing: a path that no route has is NOT_FOUND for everybody. Whoever has the
// credentials of a connection sends them once, a token goes with each call. The error says all that is wrong with
// the options.
func Auth(opts AuthOptions) (flyrpc.Middleware, error) {
	a := &auth{key: orDefault(opts.Key, DefaultTokenKey), check: opts.Check, identity: opts.Identity}
	var err error
	if a.rules, err = newRules(slices.Clone(opts.Rules)); err == nil && a.check == nil && a.identity == nil {
		for _, r := range opts.Rules {
			if r.access != publicAccess {
				err = errors.New("nobody can pass: set Check or Identity")
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("middleware: Auth: %w", err)
	}
	return a.wrap, nil
}

// auth is what Auth has made of its options.
type auth struct {
	rules    *rules
	key      string
	check    func(ctx context.Context, token string) (*Principal, error)
	identity func(ctx context.Context, identity any) (*Principal, error)
}

// wrap is the Middleware.
func (a *auth) wrap(next flyrpc.Handler) flyrpc.Handler {
	return func(ctx *flyrpc.Context) (any, error) {
		rule := a.rules.of(ctx.Path())
		if rule == nil {
			return nil, ctx.Refuse(flyrpc.Errorf(flyrpc.Forbidden, "nobody may call this path"))
		}
		if rule.access == publicAccess {
			return next(ctx)
		}
		p, err := a.who(ctx)
		if err != nil {
			return nil, ctx.Refuse(unauthenticated(err))
		}
		note(ctx, func(n *notes) { n.principal = p })
		if !rule.allows(p) {
			return nil, ctx.Refuse(flyrpc.Errorf(flyrpc.Forbidden, "the caller has none of the roles that this path asks for"))
		}
		return next(withValue(ctx, principalKey, p))
	}
}

// who returns who makes a call. Without an error that is not nil.
func (a *auth) who(ctx *flyrpc.Context) (p *Principal, err error) {
	token, identity := ctx.Meta().Get(a.key), ctx.Conn().Identity()
	switch {
	case token != "" && a.check != nil:
		p, err = a.check(ctx, token)
	case token == "" && identity != nil && a.identity != nil:
		p, err = a.identity(ctx, identity)
	default:
		return nil, flyrpc.Errorf(flyrpc.Unauthenticated, "no credentials that are accepted here: send a token with the metadata key %q, or show who you are when connecting", a.key)
	}
	if err == nil && p == nil {
		err = flyrpc.Errorf(flyrpc.Unauthenticated, "the credentials are nobody's")
	}
	return p, err
}
