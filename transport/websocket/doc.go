// Package websocket is the transport for ws:// and wss://: byte streams in the binary messages of
// WebSockets, and texts in their text messages.
//
// [Transport] dials and listens. [Accept] makes a connection of an HTTP request, in whatever server and under
// whatever path it came. Both agree on a WebSocket with gorilla/websocket; a [Conn] takes the frames apart
// itself, as what package transport asks of a connection needs that: a Read that a deadline has ended can be repeated, a Write goes on where
// it was interrupted, writes need not block, and a silent connection holds neither a buffer nor a goroutine.
//
// No extension is ever agreed on. So nothing is compressed here, and what ReadLimit counts is what
// comes out.
package websocket
