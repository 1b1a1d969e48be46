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

// withOwn returns the transports given and those of own of which none of them serves a scheme.
func withOwn(given []transport.Transport, own ...transport.Transport) []transport.Transport {
	all := slices.Clip(given)
	for _, t := range own {
		served := func(g transport.Transport) bool {
			return g != nil && slices.ContainsFunc(g.Schemes(), func(scheme string) bool { return slices.Contains(t.Schemes(), scheme) })
		}
		if !slices.ContainsFunc(given, served) {
			all = append(all, t)
		}
	}
	return all
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
	if o.TLS == nil || err != nil {
		return nil
	}
	secure := map[string]string{"tcp": schemeTLS, "udp": schemeTLS, "ws": "wss", schemeHTTP: schemeHTTPS}[u.Scheme]
	if secure == "" {
		return nil
	}
	return localErr(BadRequest, NotSent, nil, "ClientOpts.TLS is set, and %s is %s without TLS: write %s://%s%s", u.Redacted(), strings.ToUpper(u.Scheme), secure, u.Host, u.Path)
}

// checkPlain refuses to listen on addr if it can't speak TLS, which the server was told to.
func (o *ServerOpts) checkPlain(addr string) error {
	u, err := transport.ParseAddr(addr)
	if o.TLS == nil || o.AllowPlain || err != nil || u.Scheme != "udp" {
		return nil
	}
	return &transport.AddrError{Addr: u.Redacted(), Problem: "ServerOpts.TLS is set, and UDP isn't encrypted: set AllowPlain to serve it all the same"}
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
