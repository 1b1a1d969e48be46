package flyrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/go-flyrpc/flyrpc/transport"
)

// schemeTLS is the scheme of TLS over TCP.
const schemeTLS = "tls"

// withTLS returns the transports given and, unless one of them serves its scheme, TLS.
func withTLS(given []transport.Transport, t transport.Transport) []transport.Transport {
	for _, g := range given {
		if g != nil && slices.Contains(g.Schemes(), schemeTLS) {
			return given
		}
	}
	return append(slices.Clip(given), t)
}

// serverTLS is transport.TLS that names the server's option.
type serverTLS struct{ transport.TLS }

// Listen says which option is missing, if it is.
func (t serverTLS) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	if t.Config == nil {
		return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: "listening with TLS needs ServerOpts.TLS, with a certificate"}
	}
	return t.TLS.Listen(ctx, addr)
}

// checkPlain refuses to dial addr without TLS if the client was given a configuration for it.
func (o *ClientOpts) checkPlain(addr string) error {
	u, err := transport.ParseAddr(addr)
	if o.TLS == nil || err != nil || u.Scheme != "tcp" {
		return nil
	}
	return localErr(BadRequest, NotSent, nil, "ClientOpts.TLS is set, and %s is TCP without TLS: write tls://%s", addr, u.Host)
}

// helloFailed returns the error of a client whose hello was not answered because of err.
func (c *Conn) helloFailed(err error) *Error {
	var op *net.OpError
	if c.TLS() == nil || !errors.As(err, &op) || op.Op != "remote error" {
		return localErr(Unavailable, NotSent, err, "hello was not answered: %v", err)
	}
	// An alert: with TLS 1.3 the client's handshake ends before the server has seen its certificate.
	hint := ""
	if strings.Contains(op.Err.Error(), "certificate required") {
		hint = ": set ClientOpts.TLS.Certificates to one that the server trusts"
	}
	return localErr(Unauthenticated, NotSent, err, "the server refused the client's TLS handshake: %v%s", err, hint)
}

// checkServerTLS says what is wrong with a server's configuration, which may be nil.
func checkServerTLS(cfg *tls.Config) error {
	if cfg == nil || transport.HasCertificate(cfg) {
		return nil
	}
	return errors.New("ServerOpts.TLS has no certificate: set Certificates, GetCertificate or GetConfigForClient")
}
