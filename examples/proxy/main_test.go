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
	// within the process: hello Ada
	// dialled by the server: hello Ada
	// through the proxy: hello Ada
	// elsewhere: UNAVAILABLE: the proxy: CONNECT elsewhere.example:7000: 403 Forbidden (NotSent)
}
