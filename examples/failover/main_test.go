package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test program is its servers as well, as the program starts what it is itself.
func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		main()
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each server would take a second to end
	goleak.VerifyTestMain(m)
}

// The program prints the same each time, whatever the servers' processes do when.
func Example() {
	main()
	// Output:
	// three servers, nine calls: map[a:3 b:3 c:3]
	// b is killed, with two calls in flight at each
	// one has failed: its outcome is Unknown
	// the others were answered by [a c] as the one that is idempotent was repeated
	// eight more calls: map[a:4 c:4]
	// b is back, nine calls: map[a:3 b:3 c:3]
	// all were shut down and started again, one after the other, and no call has failed
	// a stream whose server was killed amid it: items [1 2 3 4 5 6 7 8 9], from 2 servers
	// all are killed, and a call with 100 ms has failed: its outcome is NotSent
	// c is started again, and a call that was waiting was answered by [c]
}
