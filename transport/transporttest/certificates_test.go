package transporttest

import (
	"crypto/x509"
	"testing"
)

func TestAuthority(t *testing.T) {
	a, other := NewAuthority(t), NewAuthority(t)
	c := a.Certificate(t, "ada")
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "ada" {
		t.Errorf("the certificate is for %v", cert.Subject)
	}
	for _, name := range []string{"ada", "localhost", "127.0.0.1", "::1"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			opts := x509.VerifyOptions{Roots: a.Pool(), DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := cert.Verify(opts); err != nil {
				t.Errorf("%s, usage %v: %v", name, usage, err)
			}
			opts.Roots = other.Pool()
			if _, err := cert.Verify(opts); err == nil {
				t.Errorf("%s: another authority vouches for it", name)
			}
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "eve"}); err == nil {
		t.Error("it holds for another name")
	}
}
