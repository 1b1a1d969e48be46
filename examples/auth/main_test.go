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
	// nobody is not let in: UNAUTHENTICATED: no credentials: set ClientOpts.Auth
	// a thief is not let in: UNAUTHENTICATED: unknown token
	// path=/whoami code=OK identity=Ada
	// Ada: "Ada" <nil>
	// path=/article/7/edit code=OK identity=Ada
	// Ada: "Ada edits article 7" <nil>
	// path=/admin/stop code=OK identity=Ada
	// Ada: "stopped" <nil>
	// path=/forgotten code=FORBIDDEN
	// Ada: "" FORBIDDEN: nobody may call this path
	// path=/whoami code=OK identity=Bob
	// Bob: "Bob" <nil>
	// path=/article/7/edit code=FORBIDDEN identity=Bob
	// Bob: "" FORBIDDEN: article 7 is by Ada
	// path=/admin/stop code=FORBIDDEN identity=Bob
	// Bob: "" FORBIDDEN: the caller has none of the roles that this path asks for
	// path=/forgotten code=FORBIDDEN
	// Bob: "" FORBIDDEN: nobody may call this path
	// path=/whoami code=OK identity=Cy
	// Cy: "Cy" <nil>
	// path=/article/7/edit code=FORBIDDEN identity=Cy
	// Cy: "" FORBIDDEN: the caller has none of the roles that this path asks for
	// path=/admin/stop code=FORBIDDEN identity=Cy
	// Cy: "" FORBIDDEN: the caller has none of the roles that this path asks for
	// path=/forgotten code=FORBIDDEN
	// Cy: "" FORBIDDEN: nobody may call this path
}
