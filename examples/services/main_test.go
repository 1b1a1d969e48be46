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
	// board at the door: we have opened
	// board in the hall: we have opened
	// 12 tables have hot soup, each from one cook; several cooks have worked: true
	// without a dish: BAD_REQUEST: table 13 has ordered nothing
	// to nobody: true NotProcessed
	// the book has 32 MiB, checksum 769d9ac0
}
