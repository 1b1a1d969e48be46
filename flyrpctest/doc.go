// Package flyrpctest helps to test FlyRPC servers and clients.
//
// [NewClient] connects a client to a server inside the process, in one line. Both are
// closed when the test ends:
//
//	srv := flyrpctest.NewServer(t, nil)
//	srv.OnMessage("/add", add)
//	cli := flyrpctest.NewClient(t, srv, nil)
//	total, err := flyrpc.Call[int](t.Context(), cli, "/add", sum{2, 3})
//
// A [Host] is where the server is: it takes more clients, and stops and starts
// again. A [Link] is the way between a client and its server, with faults to
// inject: delay, a slow line, a partition, a cut at any byte, a reset. A [Recorder]
// notes the calls that come in and go out. [Reply], [Fail], [Hang] and [InTurn]
// make handlers for servers that other code is tested against.
//
// # What is left over
//
// When the test ends, a Host waits for the handlers that still run, on the server and on
// the clients that its NewClient made, for [Grace]. Those that go on fail the test: a
// call was left open. Then it closes the clients and all connections, and waits for
// the goroutines of handlers, and those that they have started, for [Patience]. Those that
// go on fail the test with their stacks. A test that has failed already isn't told.
//
// Goroutines are told apart by a pprof label that they inherit from the handler, so tests
// may run in parallel. A goroutine that sets labels of its own isn't found, nor one that the
// test itself has started: for these a package's TestMain may use a library such as
// go.uber.org/goleak, to which FlyRPC leaves nothing once Server and Client are closed.
//
// # Time
//
// Everything in memory works inside a testing/synctest bubble, where an hour
// passes at once: whoever waits is durably blocked. Make the Host, and everything
// that belongs to it, inside the bubble. What can't be used there is real
// sockets, so a Link over [transport.TCP], and whatever the test's own code
// does of that kind: files, processes, and mutexes that are held while their holder sleeps.
package flyrpctest

import "time"

const (
	// Grace is how long handlers may go on when a test has ended, before the calls
	// they handle count as left open.
	Grace = time.Second
	// Patience bounds every other wait: connecting, a Recorder's waits, and the
	// end of goroutines.
	Patience = 10 * time.Second
)
