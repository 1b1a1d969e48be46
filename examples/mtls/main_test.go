package main

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program prints the same each time, however its goroutines run.
func Example() {
	main()
	// Output:
	// Ada: "Ada of [operations], says our authority" <nil>
	// Ada: "deployed" <nil>
	// Bob: "Bob of [sales], says our authority" <nil>
	// Bob: "" FORBIDDEN: that is for operations
	// Mallory: not let in: FORBIDDEN: the certificate of Mallory was revoked
	// no certificate: not let in: UNAUTHENTICATED: the server refused the client's TLS handshake: remote error: tls: certificate required: set ClientOpts.TLS.Certificates to one that the server trusts
	// a foreign certificate: not let in: UNAUTHENTICATED: the server refused the client's TLS handshake: remote error: tls: unknown certificate authority
	// who doesn't trust us: not let in: UNAVAILABLE: dial tls ADDR: TLS handshake: tls: failed to verify certificate: x509: certificate signed by unknown authority; to trust its authority, put that into Config.RootCAs
	// plain TCP: not let in: BAD_REQUEST: this server speaks TLS: dial tls:// instead
	// plain by a slip: not let in: BAD_REQUEST: ClientOpts.TLS is set, and tcp://ADDR is TCP without TLS: write tls://ADDR
}
