package flyrpc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sort"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/transport"
)

// The defaults of ServerOpts and ClientOpts.
const (
	DefaultMaxMessage    = 4 << 20   // bytes
	DefaultMaxFrame      = 65 << 10  // bytes: 64 KiB and room for metadata
	DefaultMaxCalls      = 1024      // calls
	DefaultStreamWindow  = 256 << 10 // bytes
	DefaultMessageWindow = 1 << 20   // bytes
	DefaultMaxQueued     = 1 << 20   // bytes
	DefaultHelloTimeout  = 3 * time.Second
	DefaultWriteTimeout  = 10 * time.Second
	DefaultHandlerWait   = time.Second
	DefaultReadTimeout   = 30 * time.Second // for each 16 KiB of a packet

	DefaultKeepaliveTime     = 30 * time.Second
	DefaultKeepaliveInterval = 10 * time.Second
	DefaultMaxConns          = 65536 // connections, of a Server
)

// minWindow is the least credit in bytes that the other end is given at first.
const minWindow = 1 << 10

// forEver is what larger timeouts are cut to, such as math.MaxInt64: times can be added to it.
const forEver = time.Duration(math.MaxInt64 / 4)

// limits bound what one connection costs. They are fields of the options.
type limits struct {
	maxMessage, maxFrame, maxCalls, maxQueued int
	window, messages                          int
	helloTimeout, writeTimeout, handlerWait   time.Duration
	readTimeout, idleTimeout, maxConnAge      time.Duration // the last two: 0 means never
	keepaliveTime, keepaliveInterval          time.Duration // keepaliveTime below 0 means never
}

// withDefaults returns l with its zeros replaced.
func (l limits) withDefaults() limits {
	setDefault(&l.maxMessage, DefaultMaxMessage)
	l.maxMessage = min(l.maxMessage, math.MaxInt-maxMetaLen-3) // for maxWhole
	setDefault(&l.maxFrame, min(DefaultMaxFrame, l.maxWhole()))
	setDefault(&l.window, DefaultStreamWindow)
	setDefault(&l.messages, DefaultMessageWindow)
	l.window, l.messages = max(l.window, minWindow), max(l.messages, minWindow)
	setDefault(&l.maxCalls, DefaultMaxCalls)
	setDefault(&l.maxQueued, DefaultMaxQueued)
	setDefault(&l.helloTimeout, DefaultHelloTimeout)
	setDefault(&l.writeTimeout, DefaultWriteTimeout)
	setDefault(&l.handlerWait, DefaultHandlerWait)
	setDefault(&l.readTimeout, DefaultReadTimeout)
	setDefault(&l.keepaliveInterval, DefaultKeepaliveInterval)
	if l.keepaliveTime == 0 {
		l.keepaliveTime = DefaultKeepaliveTime
	}
	l.idleTimeout, l.maxConnAge = max(l.idleTimeout, 0), max(l.maxConnAge, 0)
	for _, d := range []*time.Duration{&l.readTimeout, &l.idleTimeout, &l.maxConnAge, &l.keepaliveTime, &l.keepaliveInterval} {
		*d = min(*d, forEver)
	}
	l.maxCalls = min(l.maxCalls, maxOpenCalls)
	return l
}

// limits returns the limits of a server with their defaults.
func (o *ServerOpts) limits() limits {
	return limits{
		o.MaxMessage, o.MaxFrame, o.MaxCalls, o.MaxQueued, o.StreamWindow, o.MessageWindow,
		o.HelloTimeout, o.WriteTimeout, o.HandlerWait, o.ReadTimeout, o.IdleTimeout, o.MaxConnAge,
		o.KeepaliveTime, o.KeepaliveInterval,
	}.withDefaults()
}

// limits returns the limits of a client with their defaults.
func (o *ClientOpts) limits() limits {
	return limits{
		o.MaxMessage, o.MaxFrame, o.MaxCalls, o.MaxQueued, o.StreamWindow, o.MessageWindow,
		o.HelloTimeout, o.WriteTimeout, o.HandlerWait, o.ReadTimeout, o.IdleTimeout, 0,
		o.KeepaliveTime, o.KeepaliveInterval,
	}.withDefaults()
}

// setDefault gives *v its default if it is zero or less.
func setDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// ServerOpts are the options of a Server. nil and the zero value mean the defaults. NewServer copies
// them.
type ServerOpts struct {
	// MaxMessage is the largest message accepted, in bytes. Default 4 MiB. A larger one is
	// answered BUFF_TOO_LONG and the connection goes on.
	MaxMessage int
	// MaxFrame is the largest payload of one packet accepted, in bytes, metadata included; larger messages
	// come in pieces. Default 65 KiB: 64 KiB and room for metadata. It doesn't hold for version 1 peers, which have no pieces.
	MaxFrame int
	// MaxCalls is the number of calls of the other end that are served at once, at most 32,702. Default 1,024. As many
	// one-way messages are handled at once beside them. A version 2 peer waits; a version 1 peer, or one that sends JSON
	// commands, isn't read until there is room.
	MaxCalls int
	// StreamWindow is the number of bytes that the other end may send for each call, as items and in
	// pieces, before the program has taken them. Default 256 KiB, at least 1 KiB.
	StreamWindow int
	// MessageWindow is the same for all one-way messages together. Default 1 MiB, at least 1 KiB.
	MessageWindow int
	// MaxQueued is the number of bytes waiting to be written from which on whoever
	// sends has to wait. Default 1 MiB.
	MaxQueued int
	// HelloTimeout bounds the handshake, and the first packet from its first byte to its
	// last. Default 3 s.
	HelloTimeout time.Duration
	// WriteTimeout is how long the other end may read nothing while bytes wait to be
	// written, before the connection is closed. Over TLS it is how long a write may take, of 64 KiB at most. Default 10 s.
	WriteTimeout time.Duration
	// HandlerWait is how long a call or message made through a handler's Context waits for
	// the other end to take it, before it fails with BUSY. Default 1 s.
	HandlerWait time.Duration
	// ReadTimeout is how long a packet may take from its first byte to its last, once the handshake is
	// done, and as long again for each 16 KiB of it that have come: with 30 s, a slow link may send a large one
	// as long as it makes about 550 bytes a second. Who is slower is cut, up to a quarter later. Default 30 s.
	ReadTimeout time.Duration
	// IdleTimeout is how long there may be no call in either direction, nor a message, before the
	// connection is closed in order, up to a quarter later: the other end is told to open no new calls, and what
	// it has sent by then is served. Pings don't count. Default 0: never.
	IdleTimeout time.Duration
	// KeepaliveTime is how long no byte may come of the other end before it is pinged. The larger of both
	// ends' holds, but no more than an hour of the other one's. Default 30 s; negative means that this end doesn't
	// ping. Version 1 peers are never pinged.
	KeepaliveTime time.Duration
	// KeepaliveInterval is how long after the ping a byte has to come, or the connection is closed and its
	// calls fail with UNAVAILABLE. An inline handler that runs as long keeps the bytes from being read. On a slow
	// link it has to be enough for what is sent ahead of the ping, as much as 64 KiB here and 128 KiB in the system, and over TLS for a
	// record of 16 KiB, whose bytes count when it has come as a whole. Default 10 s.
	KeepaliveInterval time.Duration
	// MaxConnAge is how old a connection gets, give or take 10%, before it is closed in order: its client is
	// told to open no new calls, and those that are open end. After 30 s they are cancelled and answered
	// UNAVAILABLE. Default 0: any age.
	MaxConnAge time.Duration
	// MaxConns is the most connections at the same time. One more is refused: its hello, or a version 1
	// peer's first request, is answered BUSY; if 64 are being told so, it is closed at once. Default 65,536.
	MaxConns int
	// MaxConnsPerAddr is the same for those of one IP address. It doesn't hold for connections that have
	// none. Default 0: MaxConns alone.
	MaxConnsPerAddr int
	// FirstConnTimeout is how long Listen and Serve wait for the server's first client that comes through
	// the handshake, before they return an error that matches ErrNoClient. Default 0: for ever.
	FirstConnTimeout time.Duration
	// OnLostConn is called once for each connection that ended otherwise than in order, with the address
	// of the other end and what ended it: a timeout, a limit, a failed read or handshake, or the error that refused
	// it. It runs on the goroutine that served or accepted the connection, has to return soon, and may run for many
	// connections at once. Default: nil.
	OnLostConn func(addr net.Addr, err error)

	// Serializers are what clients may choose from, for their connection. Default: MessagePack
	// and JSON. JSON serves version 1 peers even if it isn't listed, unless V1Serializer is set.
	Serializers []serializer.Serializer
	// V1Serializer is what version 1 peers speak. Default: JSON.
	V1Serializer serializer.Serializer
	// Errors are the program's own errors by the codes they travel with. A handler's
	// error that is one of them is sent with its code, and a response with the code makes the
	// caller's error match it with errors.Is.
	Errors map[Code]error
	// Logger takes what the server has to say. Default: slog.Default(). At Info and above
	// it says nothing about metadata or payloads.
	Logger *slog.Logger
	// Auth turns the credentials of a client into its identity, which handlers read with
	// Conn.Identity, before anything else of the client is decoded. An error refuses the client, with
	// UNAUTHENTICATED unless it has a code of its own. It runs on the connection's own
	// goroutine, is bounded by HelloTimeout, and may run for many connections at once. Default: nil, which lets everybody in.
	Auth func(ctx context.Context, c *Credentials) (identity any, err error)
	// AllowV1 lets version 1 peers, which have no credentials to show, come to Auth.
	// Without Auth they are let in anyway. Default: they are refused with UNAUTHENTICATED.
	AllowV1 bool
	// Zip says what the server compresses. Default: nothing.
	Zip Zip
	// TLS makes the server speak TLS, on all listeners and in ServeConn: a client has to begin a TLS handshake
	// within HelloTimeout and to end it within as long again, before OnConnect and Auth run. It needs a certificate. For mutual TLS set ClientAuth and
	// ClientCAs: Auth finds the client's certificate in Credentials.TLS, handlers in Conn.TLS. Connections over Unix sockets,
	// memory and pipes may do without, as with AllowPlain: what protects them is the file system. Default: nil, no TLS.
	TLS *tls.Config
	// AllowPlain lets clients in that don't speak TLS though TLS is set. A client must still be the first
	// to speak, within HelloTimeout: a version 1 client that waits to be pushed to is not served over TCP then.
	AllowPlain bool
	// NoHTTP has the server not speak HTTP: neither calls nor WebSocket. A connection whose first byte is that of
	// an HTTP method is taken for packets then. Default: it speaks HTTP.
	NoHTTP bool
	// NoWebSocket has the server refuse the upgrade of HTTP to WebSocket. Default: it accepts it.
	NoWebSocket bool
	// NoCommands has the server not speak JSON commands, neither on streams nor in the text messages of a
	// WebSocket. Default: it does. A command has at most MaxMessage and 8 KiB more, its line end not counted.
	NoCommands bool
	// Origins are the other sites whose pages may call by HTTP and open WebSockets, as browsers name them in the Origin
	// header: https://example.com, with the port where it isn't the scheme's own. "*" stands for all. Default: only
	// pages of the server itself may.
	Origins []string
	// Info is what the server says of itself in hello: any value that encoding/json takes, at most 15 KiB of JSON.
	Info any
	// Transports are more ways to listen, by their URL schemes, beside those built in.
	Transports []transport.Transport
}

// ClientOpts are the options of a Client. nil and the zero value mean the defaults. NewClient copies
// them.
type ClientOpts struct {
	// MaxMessage is the largest message accepted, in bytes. Default 4 MiB. A larger one is
	// answered BUFF_TOO_LONG and the connection goes on.
	MaxMessage int
	// MaxFrame is the largest payload of one packet accepted, in bytes, metadata included; larger messages
	// come in pieces. Default 65 KiB: 64 KiB and room for metadata. It doesn't hold for version 1 peers, which have no pieces.
	MaxFrame int
	// MaxCalls is the number of calls of the other end that are served at once, at most 32,702. Default 1,024. As many
	// one-way messages are handled at once beside them. A version 2 peer waits; a version 1 peer isn't
	// read until there is room.
	MaxCalls int
	// StreamWindow is the number of bytes that the other end may send for each call, as items and in
	// pieces, before the program has taken them. Default 256 KiB, at least 1 KiB.
	StreamWindow int
	// MessageWindow is the same for all one-way messages together. Default 1 MiB, at least 1 KiB.
	MessageWindow int
	// MaxQueued is the number of bytes waiting to be written from which on whoever
	// sends has to wait. Default 1 MiB.
	MaxQueued int
	// HelloTimeout bounds the handshake, and the first packet from its first byte to its
	// last. Default 3 s.
	HelloTimeout time.Duration
	// WriteTimeout is how long the other end may read nothing while bytes wait to be
	// written, before the connection is closed. Over TLS it is how long a write may take, of 64 KiB at most. Default 10 s.
	WriteTimeout time.Duration
	// HandlerWait is how long a call or message made through a handler's Context waits for
	// the other end to take it, before it fails with BUSY. Default 1 s.
	HandlerWait time.Duration
	// ReadTimeout is how long a packet may take from its first byte to its last, once the handshake is
	// done, and as long again for each 16 KiB of it that have come: with 30 s, a slow link may send a large one
	// as long as it makes about 550 bytes a second. Who is slower is cut, up to a quarter later. Default 30 s.
	ReadTimeout time.Duration
	// IdleTimeout is how long there may be no call in either direction, nor a message, before the
	// connection is closed in order, up to a quarter later. Pings don't count. The next call dials again. Default 0: never.
	IdleTimeout time.Duration
	// KeepaliveTime is how long no byte may come of the other end before it is pinged. The larger of both
	// ends' holds, but no more than an hour of the other one's. Default 30 s; negative means that this end doesn't
	// ping. Version 1 peers are never pinged.
	KeepaliveTime time.Duration
	// KeepaliveInterval is how long after the ping a byte has to come, or the connection is closed and its
	// calls fail with UNAVAILABLE. An inline handler that runs as long keeps the bytes from being read. On a slow
	// link it has to be enough for what is sent ahead of the ping, as much as 64 KiB here and 128 KiB in the system, and over TLS for a
	// record of 16 KiB, whose bytes count when it has come as a whole. Default 10 s.
	KeepaliveInterval time.Duration
	// OnLostConn is called once for each connection that ended otherwise than in order, with the address
	// of the other end and what ended it: a timeout, a limit or a failed read. What ends a handshake is Connect's
	// error alone. It runs on the goroutine that read the connection, and has to return soon. Default: nil.
	OnLostConn func(addr net.Addr, err error)

	// Serializer is what the connection speaks. The server must have it, or hello
	// fails. Default: MessagePack, or JSON if the server lacks it.
	Serializer serializer.Serializer
	// V1Serializer is what version 1 peers speak. Default: Serializer if set, else JSON.
	V1Serializer serializer.Serializer
	// Errors are the program's own errors by the codes they travel with; see ServerOpts.
	Errors map[Code]error
	// Logger takes what the client has to say. Default: slog.Default().
	Logger *slog.Logger
	// Auth are the credentials shown to the server: a value that encoding/json makes an
	// object of, or a func(context.Context) (any, error) that returns one, called for
	// each connection.
	Auth any
	// TLS is how tls://, wss:// and https:// addresses are dialled: RootCAs to check the server by, Certificates to show to it. The server's
	// certificate has to be for ServerName, or if that is empty for the address's host. With TLS set an address of plain TCP
	// or http:// is refused. It has no part in DialFunc and NewClientConn. Default: nil, the system's authorities and no certificate.
	TLS *tls.Config
	// Header is sent with the request that begins a WebSocket, at ws:// and wss:// addresses: cookies, an Authorization.
	// Default: nothing.
	Header http.Header
	// Zip says what the client compresses. Default: nothing.
	Zip Zip
	// Info is what the client says of itself in hello: any value that encoding/json takes.
	Info any
	// RequireHello refuses servers that speak version 1 only. Without it a server that doesn't answer hello within HelloTimeout is taken
	// for one of version 1, unless the client has spoken version 2 before, with whatever address: then that attempt has failed with UNAVAILABLE.
	RequireHello bool
	// NoHello speaks version 1 at once, which spares HelloTimeout with a server known
	// to ignore hello.
	NoHello bool
	// CheckPeer sees what the server said of itself in hello, or that it speaks version 1. An
	// error refuses it.
	CheckPeer func(PeerInfo) error
	// Intercept wraps the calls and messages of the client, the first one outermost.
	Intercept []Interceptor
	// Reconnect says what the client does when its connection is lost, or the server has said bye. Default: it dials again when it is used.
	Reconnect Reconnect
	// Balance says how the client's calls are divided if there are several addresses, or several connections to one.
	Balance Balance
	// Resolver finds the server's addresses, which may change, instead of the one given to NewClient. Default: nil.
	Resolver Resolver
	// DialFunc opens the connection, instead of the transport of the address. It takes any text as one address.
	DialFunc func(ctx context.Context, addr string) (net.Conn, error)
	// Transports are more ways to dial, by their URL schemes, beside those built in.
	Transports []transport.Transport
}

// PeerInfo is what the other end said of itself in hello.
type PeerInfo struct {
	// Version is 2, or 1 for a peer that doesn't know hello, or 0 for one that speaks JSON commands. The last two say nothing
	// of themselves: Serializer and MaxCalls are this side's then, and the rest is zero but for Agent, "JSON commands".
	Version int
	// Agent names the implementation.
	Agent string
	// Serializer is the name of the connection's serializer.
	Serializer string
	// Info is what the application said, as JSON, or nil.
	Info json.RawMessage
	// MaxMessage, MaxFrame and MaxCalls are the other end's limits.
	MaxMessage, MaxFrame, MaxCalls int
}

// newErrorTable orders a program's own errors by their codes.
func newErrorTable(m map[Code]error) errorTable {
	t := make(errorTable, 0, len(m))
	for code, err := range m {
		t = append(t, codedError{code, err})
	}
	sort.Slice(t, func(i, j int) bool { return t[i].code < t[j].code })
	return t
}

// serverSerializers returns what clients may choose from.
func serverSerializers(given []serializer.Serializer) []serializer.Serializer {
	if len(given) > 0 {
		return append([]serializer.Serializer(nil), given...)
	}
	return []serializer.Serializer{msgpack.Serializer, jsonser.Serializer}
}

// clientSerializers returns what a client asks for, best first.
func clientSerializers(given serializer.Serializer) []serializer.Serializer {
	if given != nil {
		return []serializer.Serializer{given}
	}
	return []serializer.Serializer{msgpack.Serializer, jsonser.Serializer}
}

// v1Serializer returns the first that is set of those given, or JSON.
func v1Serializer(given ...serializer.Serializer) serializer.Serializer {
	for _, s := range given {
		if s != nil {
			return s
		}
	}
	return jsonser.Serializer
}

// marshalInfo encodes a value for hello.
func marshalInfo(option string, v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("flyrpc: %s can't be encoded as JSON: %w", option, err)
	}
	return b, nil
}
