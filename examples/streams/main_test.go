package main

// The program prints the same each time, however its goroutines run.
func Example() {
	main()
	// Output:
	// client: log: starting
	// client: log: listening
	// client: log: ready
	// server: the follower is gone: context canceled
	// client: 250 of 1000 orders are in
	// client: 500 of 1000 orders are in
	// client: 750 of 1000 orders are in
	// client: 1000 of 1000 orders are in
	// client: the sum is 1990.00
	// Ada hears: Ada is here
	// Ada hears: Bob is here
	// Bob hears: Bob is here
	// Ada hears: Ada: hello Bob
	// Bob hears: Ada: hello Bob
	// Ada hears: Bob: hello and goodbye
	// Bob hears: Bob: hello and goodbye
	// Ada hears: Bob has left
}
