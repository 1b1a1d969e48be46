package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/go-flyrpc/flyrpc"
)

// identify is what ServerOpts.Auth takes. The handshake is done when it runs: the certificate is valid and
// of our authority. What is left to decide is whether this one may connect; what it returns is the
// identity of the connection.
func identify(_ context.Context, c *flyrpc.Credentials) (any, error) {
	cert := c.TLS.PeerCertificates[0]
	if slices.Contains(revoked(), cert.Subject.CommonName) {
		return nil, flyrpc.Errorf(flyrpc.Forbidden, "the certificate of %s was revoked", cert.Subject.CommonName)
	}
	return cert, nil
}

// revoked returns whose certificates don't count any more.
func revoked() []string { return []string{"Mallory"} }

// routes registers what clients may call.
func routes(r *flyrpc.Router) {
	// A handler has the certificate by the connection's identity, or as ctx.Conn().TLS().PeerCertificates[0].
	r.OnMessage("/whoami", func(ctx *flyrpc.Context) string {
		cert, issuer := certOf(ctx), ctx.Conn().TLS().VerifiedChains[0][1]
		return fmt.Sprintf("%s of %v, says %s", cert.Subject.CommonName, cert.Subject.OrganizationalUnit, issuer.Subject.CommonName)
	})
	r.OnMessage("/deploy", func(ctx *flyrpc.Context) (string, error) {
		if !slices.Contains(certOf(ctx).Subject.OrganizationalUnit, "operations") {
			return "", flyrpc.Errorf(flyrpc.Forbidden, "that is for operations")
		}
		return "deployed", nil
	})
}

// certOf returns the certificate of whoever calls, as identify has let it in.
func certOf(ctx *flyrpc.Context) *x509.Certificate {
	return ctx.Conn().Identity().(*x509.Certificate)
}
