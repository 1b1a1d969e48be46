//go:build unix

package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test program is the plug-in as well, as the example starts what it is itself.
func TestMain(m *testing.M) {
	if os.Getenv(inPlugin) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// The program prints the same each time, however its goroutines run.
func Example() {
	main()
	// Output:
	// by pipe: BOTH WAYS, hello host
	// by unix: BOTH WAYS, hello socket
	// the plug-in has ended: exit status 0
	// the call that was under way: UNAVAILABLE, outcome Unknown
	// the next call: UNAVAILABLE, outcome NotSent
	// its socket is still there: true
	// the plug-in has ended: signal: killed
	// by pipe: BOTH WAYS, hello host
	// by unix: BOTH WAYS, hello socket
	// the plug-in has ended: exit status 0
}
