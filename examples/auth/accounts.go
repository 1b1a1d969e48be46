package main

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// credentials are what a client shows, as JSON, in the first packet of its connection.
type credentials struct{ Token string }

// accounts are kept by the hashes of their tokens, so that neither the map nor how long a look-up takes
// tells a token. That is for long random tokens: a password needs a slow hash.
type accounts map[[sha256.Size]byte]*middleware.Principal

func newAccounts() accounts {
	return accounts{
		sha256.Sum256([]byte("ada's token")): {Name: "Ada", Roles: []string{"editor", "admin"}},
		sha256.Sum256([]byte("bob's token")): {Name: "Bob", Roles: []string{"editor"}},
		sha256.Sum256([]byte("cy's token")):  {Name: "Cy"},
	}
}

// check is what ServerOpts.Auth takes. It runs before anything else of a client is decoded; its plain
// errors go out as UNAUTHENTICATED. What it returns is the identity of the connection.
func (as accounts) check(_ context.Context, c *flyrpc.Credentials) (any, error) {
	var given credentials
	if err := c.Decode(&given); err != nil {
		return nil, err // there are none, or they are no such object
	}
	p, ok := as[sha256.Sum256([]byte(given.Token))]
	if !ok {
		return nil, errors.New("unknown token")
	}
	return p, nil
}

// principal makes a connection's identity, which check has returned, the Principal that calls.
func principal(_ context.Context, identity any) (*middleware.Principal, error) {
	return identity.(*middleware.Principal), nil
}
