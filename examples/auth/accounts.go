package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/go-flyrpc/flyrpc"
)

// credentials are what a client shows, as JSON, in the first packet of its connection.
type credentials struct{ Token string }

// account is what the server makes of them: the identity of a connection.
type account struct {
	name  string
	roles []string
}

func (a *account) is(role string) bool { return slices.Contains(a.roles, role) }

// accounts are kept by the hashes of their tokens, so that neither the map nor how long a look-up takes
// tells a token. That is for long random tokens: a password needs a slow hash.
type accounts map[[sha256.Size]byte]*account

func newAccounts() accounts {
	return accounts{
		sha256.Sum256([]byte("ada's token")): {"Ada", []string{"editor", "admin"}},
		sha256.Sum256([]byte("bob's token")): {"Bob", []string{"editor"}},
	}
}

// check is what ServerOpts.Auth takes. It runs before anything else of a client is decoded; its plain
// errors go out as UNAUTHENTICATED.
func (as accounts) check(_ context.Context, c *flyrpc.Credentials) (any, error) {
	var given credentials
	if err := c.Decode(&given); err != nil {
		return nil, err // there are none, or they are no such object
	}
	a, ok := as[sha256.Sum256([]byte(given.Token))]
	if !ok {
		return nil, errors.New("unknown token")
	}
	return a, nil
}

// caller returns who calls. All connections have an account, as check has let them in.
func caller(ctx *flyrpc.Context) *account { return ctx.Conn().Identity().(*account) }
