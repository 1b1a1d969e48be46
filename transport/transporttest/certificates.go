package transporttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// Authority issues certificates for tests. It lives in memory, and its certificates
// are valid for a day.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority returns a new authority, which nobody trusts yet.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	template := template("authority of " + t.Name())
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a := new(Authority)
	der, key := issue(t, template, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("making an authority: %v", err)
	}
	a.cert, a.key = cert, key
	return a
}

// Pool returns a pool with the authority's certificate, for RootCAs and ClientCAs.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Certificate returns a new certificate, for a server or a client, whose common
// name is name. It holds for that host, localhost, 127.0.0.1 and ::1.
func (a *Authority) Certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	template := template(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{name, "localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	der, key := issue(t, template, a)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// template returns what all certificates have in common.
func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// issue makes a certificate with a new key, signed by a, or by itself if that is
// nil.
func issue(t testing.TB, template *x509.Certificate, a *Authority) ([]byte, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("making a key: %v", err)
	}
	if a == nil {
		a = &Authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatalf("making a certificate for %s: %v", template.Subject.CommonName, err)
	}
	return der, key
}
