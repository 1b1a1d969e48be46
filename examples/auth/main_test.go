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
	// msg=call path=/whoami by=Ada result=ok
	// Ada: "Ada" <nil>
	// msg=call path=/article/7/edit by=Ada result=ok
	// Ada: "Ada edits article 7" <nil>
	// msg=call path=/admin/stop by=Ada result=ok
	// Ada: "stopped" <nil>
	// msg=call path=/whoami by=Bob result=ok
	// Bob: "Bob" <nil>
	// msg=call path=/article/7/edit by=Bob result=ok
	// Bob: "Bob edits article 7" <nil>
	// msg=call path=/admin/stop by=Bob result=FORBIDDEN
	// Bob: "" FORBIDDEN: that is for those who are admin
}
