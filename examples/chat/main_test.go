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
	// Ada finds [Ada]
	// Bob finds [Ada Bob]
	// Ada hears: Bob is here
	// Cy finds [Ada Bob Cy]
	// Ada hears: Cy is here
	// Bob hears: Cy is here
	// a second Ada is refused: CONFLICT: Ada is here already
	// Ada hears: Ada: hello
	// Bob hears: Ada: hello
	// Cy hears: Ada: hello
	// Bob has asked Ada: yes
	// Bob has asked Bob: why lunch at noon?
	// Bob has asked Cy: BUSY: on the phone
	// Ada hears: Cy has left
	// Bob hears: Cy has left
}
