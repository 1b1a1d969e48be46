package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

const schemeTLS = "tls"

// DefaultHandshakeTimeout is how long a handshake may take that TLS performs,
// unless it says otherwise.
const DefaultHandshakeTimeout = 10 * time.Second

// closeNotifyWait is how long closing a TLS connection tries to tell the other
// end.
const closeNotifyWait = time.Second

// TLS is the Transport for "tls://host:port": TLS over TCP. Its connections are
// *TLSConn. It isn't in a Table unless the program puts it there, since it needs
// a Config.
type TLS struct {
	// Config is used by Dial and Listen, and not changed. nil means the zero
	// Config, with which servers are checked against the system's certificate
	// authorities and nothing can be listened on.
	Config *tls.Config
	// HandshakeTimeout bounds the handshake of Dial, which ctx does too. 0 or less means
	// DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
}

// Schemes returns "tls".
func (TLS) Schemes() []string { return []string{schemeTLS} }

// Dial connects to addr's host and port and performs the handshake, before ctx
// ends and within HandshakeTimeout. The server's certificate has to be for Config.ServerName, or if that is
// empty for addr's host; without a host, for localhost. With TLS 1.3 a server
// that refuses the client's certificate says so only afterwards: it is the
// error of the first Read.
func (t TLS) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	hostPort, err := tcpHostPort(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", hostPort)
	if err != nil {
		return nil, err
	}
	cfg := t.config()
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = serverName(addr)
	}
	client := &TLSConn{tls.Client(c, cfg)}
	if err := t.shake(ctx, client); err != nil {
		c.Close()
		return nil, &net.OpError{Op: "dial", Net: schemeTLS, Addr: c.RemoteAddr(), Err: handshakeError(err)}
	}
	return client, nil
}

// Listen listens on addr's host and port as TCP does. Config needs a certificate:
// Certificates, GetCertificate or GetConfigForClient. Accept returns at once; the
// handshake is performed by the first Read or Write, or by HandshakeContext.
func (t TLS) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	hostPort, err := tcpHostPort(addr)
	if err != nil {
		return nil, err
	}
	if !HasCertificate(t.Config) {
		return nil, &AddrError{addr.String(), "listening with TLS needs a certificate: set Config.Certificates, GetCertificate or GetConfigForClient"}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", hostPort)
	if err != nil {
		return nil, err
	}
	return &tlsListener{l, t.Config}, nil
}

// shake performs the handshake of the dialing end.
func (t TLS) shake(ctx context.Context, c *TLSConn) error {
	timeout := t.HandshakeTimeout
	if timeout <= 0 {
		timeout = DefaultHandshakeTimeout
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := c.HandshakeContext(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the other end took longer than %v: %w", timeout, os.ErrDeadlineExceeded)
	}
	return err
}

func (t TLS) config() *tls.Config {
	if t.Config == nil {
		return new(tls.Config)
	}
	return t.Config
}

// HasCertificate reports whether cfg, which may be nil, has something to show to
// clients: Certificates, GetCertificate or GetConfigForClient.
func HasCertificate(cfg *tls.Config) bool {
	return cfg != nil && (len(cfg.Certificates) > 0 || cfg.GetCertificate != nil || cfg.GetConfigForClient != nil)
}

// serverName returns the name that a server's certificate has to be for.
func serverName(addr *url.URL) string {
	name, _, _ := strings.Cut(addr.Hostname(), "%") // a zone is this system's own
	if name == "" {
		return "localhost"
	}
	return strings.TrimSuffix(name, ".")
}

// handshakeError says what may be done about a handshake that failed on the
// dialing end.
func handshakeError(err error) error {
	var noTLS tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	hint := ""
	switch {
	case errors.As(err, &noTLS):
		hint = "; does the other end speak TLS? A tcp:// address speaks without"
	case errors.As(err, &unknown):
		hint = "; to trust its authority, put that into Config.RootCAs"
	case errors.Is(err, io.EOF):
		hint = ": the other end closed the connection; does it speak TLS?"
	}
	return fmt.Errorf("TLS handshake: %w%s", err, hint)
}

// tlsListener makes TLS connections of what it accepts, without a handshake.
type tlsListener struct {
	net.Listener
	cfg *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return TLSServer(c, l.cfg), nil
}

// TLSConn is a *tls.Conn whose Close and CloseWrite take a second at most, when
// the other end reads nothing.
//
// A Write that its deadline has interrupted ends the writing side for good; a
// Read can be repeated.
type TLSConn struct{ *tls.Conn }

// TLSServer returns the server's end of a TLS connection over c, which belongs to
// it from then on. The handshake is performed by the first Read or Write, or by
// HandshakeContext.
func TLSServer(c net.Conn, cfg *tls.Config) *TLSConn { return &TLSConn{tls.Server(c, cfg)} }

// Close says that nothing more will be sent, if that is possible within a second,
// and closes the connection.
func (c *TLSConn) Close() error {
	timer := time.AfterFunc(closeNotifyWait, func() { c.NetConn().Close() })
	defer timer.Stop()
	return c.Conn.Close()
}

// CloseWrite says that nothing more will be sent: the other end reads io.EOF.
// Reading goes on. When the other end takes nothing for a second, the connection
// is closed.
func (c *TLSConn) CloseWrite() error {
	timer := time.AfterFunc(closeNotifyWait, func() { c.NetConn().Close() })
	defer timer.Stop()
	return c.Conn.CloseWrite()
}
