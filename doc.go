// Package flyrpc lets Go programs call each other's functions over one connection,
// in both directions, without generated code.
//
// A function gets a path with OnMessage, on a Server or a Client, and the other end
// calls it with Call, or sends it a one-way message with SendMessage. Both ends are
// alike: a server's handlers call the client with Context.Call, and a program that
// keeps a Conn calls its other end whenever it likes.
//
//	srv := flyrpc.NewServer(nil)
//	srv.OnMessage("/user/get", func(q *Lookup) (*User, error) { ... })
//	log.Fatal(srv.Listen(":7000"))
//
//	cli, err := flyrpc.Dial(ctx, "localhost:7000", nil)
//	user, err := flyrpc.Call[User](ctx, cli, "/user/get", Lookup{ID: 7})
//
// # Handlers
//
// MessageHandler lists the shapes a handler may have. Each is made into a Handler
// once, when it is registered, and wrapped by the Middleware of its Router. Handlers
// run on goroutines of their own, many at once; the route options Ordered and Inline change
// that. A panic ends its call with HandlerPanic and nothing else.
//
// # Contexts
//
// A call's deadline travels as the time that is left, and its cancellation as a packet: both
// end the handler's Context. Calls made with that Context, to wherever, end with it.
//
// # Errors
//
// A call fails with an Error. Its Code is itself an error, so that errors.Is(err,
// flyrpc.NotFound) holds on both ends; ServerOpts.Errors and ClientOpts.Errors do the same
// for a program's own errors. Outcome says whether the call that failed may have been executed.
//
// # Peers
//
// Two FlyRPC ends say hello to each other and agree on a serializer and on limits. A
// peer that doesn't know hello is spoken to in version 1, without metadata,
// deadlines or cancellation.
//
// # Concurrency
//
// All methods of Server, Client, Conn, Context and Router may be called concurrently,
// unless they say otherwise. Messages and replies belong to the call until it has returned; what a handler
// gets is its own.
package flyrpc
