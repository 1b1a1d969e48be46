package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// attempt is a client that tries to get in.
type attempt struct {
	who    string
	scheme string
	tls    *tls.Config
}

// try has one client after the other dial addr.
func try(ctx context.Context, addr string, ours *authority) error {
	attempts, err := attempts(ours)
	if err != nil {
		return err
	}
	for _, a := range attempts {
		cli, err := flyrpc.Dial(ctx, a.scheme+"://"+addr, &flyrpc.ClientOpts{TLS: a.tls})
		if err != nil {
			// The port differs from run to run.
			fmt.Printf("%s: not let in: %s\n", a.who, strings.ReplaceAll(err.Error(), addr, "ADDR"))
			continue
		}
		who, err := flyrpc.Call[string](ctx, cli, "/whoami", nil)
		fmt.Printf("%s: %q %v\n", a.who, who, err)
		done, err := flyrpc.Call[string](ctx, cli, "/deploy", nil)
		fmt.Printf("%s: %q %v\n", a.who, done, err)
		cli.Close()
	}
	return nil
}

// attempts returns the clients, good and bad.
func attempts(ours *authority) ([]attempt, error) {
	theirs, err := newAuthority("a foreign authority")
	if err != nil {
		return nil, err
	}
	ada, errAda := ours.client("Ada", "operations")
	bob, errBob := ours.client("Bob", "sales")
	mallory, errMallory := ours.client("Mallory", "operations")
	eve, errEve := theirs.client("Ada", "operations") // who only says that she is Ada
	if err := errors.Join(errAda, errBob, errMallory, errEve); err != nil {
		return nil, err
	}
	with := func(roots *x509.CertPool, certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, Certificates: certs}
	}
	// A server says which authorities it trusts, and Go's clients send no other certificate, unless made to.
	stubborn := with(ours.pool())
	stubborn.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &eve, nil }
	return []attempt{
		{"Ada", "tls", with(ours.pool(), ada)},
		{"Bob", "tls", with(ours.pool(), bob)},
		{"Mallory", "tls", with(ours.pool(), mallory)},
		{"no certificate", "tls", with(ours.pool())},
		{"a foreign certificate", "tls", stubborn},
		{"who doesn't trust us", "tls", with(theirs.pool(), ada)},
		{"plain TCP", "tcp", nil},
		{"plain by a slip", "tcp", with(ours.pool(), ada)},
	}, nil
}
