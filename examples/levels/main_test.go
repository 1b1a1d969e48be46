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
	// 0 protocol: 7 anything "some bytes"
	// 1 raw: /note, 1200 bytes, compressed false, lang=en
	// 1 raw: /note, fewer than 100 bytes true, compressed true
	// 2 packet: /note, 1200 bytes, compressed false
	// 3 response: code "", "4"
	// 3 response: code "EMPTY", "there is nothing to count"
	// 3 response: code "", "LOUD"
	// 4 handler: LOUD AND CLEAR
	// 4 handler: NOT_FOUND: no handler for "/lower"
}
