package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or is a worker: the program starts itself as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workArg {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// The program prints the same each time, however its processes run.
func Example() {
	main()
	// Output:
	// 20 jobs are kept by the broker
	// the first worker has begun with job 1, and is killed
	// 20 jobs are done
	// job 1 was begun by both
}
