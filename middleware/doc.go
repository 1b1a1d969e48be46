// Package middleware holds what most servers and clients put around their calls.
//
// For flyrpc.Router.Use, and what a client serves:
//
//   - Logger writes one line for each call.
//   - RequestID gives each call an id that a chain of services shares.
//   - Auth checks who calls and what they may call.
//   - RateLimit bounds calls a second, Concurrency those at once, Timeout the time of each.
//   - Chain makes one of several.
//
// For flyrpc.ClientOpts.Intercept:
//
//   - Retry repeats calls that may be repeated.
//   - Breaker stops calling a server that fails.
//   - Token sends a token, SendRequestID the id of the call that is being handled.
//
// What refuses a call before its handler has started says so with flyrpc.Context.Refuse, so that the caller's Retry
// repeats it. A stream is one call: it passes when it is opened, and on the server it lasts until its handler has returned. Every
// Middleware and Interceptor of this package may be used by many calls at once, and by several servers and clients, which
// share its limits then.
package middleware
