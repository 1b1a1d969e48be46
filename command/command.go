// Package command speaks the DRS protocol: commands with an action, a key and a body, in JSON unless another
// [Codec] is given, one in a line of a stream or in a text message of a WebSocket.
//
// A [Processor] is a [flyrpc.Server] whose routes are the actions. It is a peer, not a server alone: it serves commands on what it
// listens on, and on connections that it has dialled or was given, such as that to a child process; and on each of
// them it sends commands, with [Conn.Fire] and [Conn.Call]. Limits, middleware, OnConnect and Shutdown are those of
// the Server. A program that only serves commands doesn't need this package: every flyrpc.Server does.
package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/command"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// The actions of the protocol itself.
const (
	ActionResponse  = command.Response  // answers a command: the body is the result
	ActionError     = command.Error     // answers it with an Error
	ActionException = command.Exception // answers it with an Exception
	ActionPing      = command.Ping      // is answered with the time, in milliseconds since 1970
)

// MaxKey is the longest key of a command, in bytes.
const MaxKey = command.MaxKey

// Command is one command, as a Codec reads and writes it.
type Command = command.Command

// Codec turns commands into bytes and back. JSON is built in.
type Codec = command.Codec

// JSON returns the codec of JSON commands. ser, whose bytes are JSON, encodes keys and bodies.
func JSON(ser serializer.Serializer) Codec { return command.JSON(ser) }

// Options are the options of New. nil and the zero value mean the defaults.
type Options struct {
	// Server are the options of the Server: limits, Logger, Errors, TLS and Auth for those who connect, and so on.
	Server flyrpc.ServerOpts
	// Codec is how commands are written on connections that are dialled, or given to Connect. Those that Listen and Serve accept
	// speak JSON. Default: JSON.
	Codec Codec
	// DialTLS is how Dial connects to tls:// and wss:// addresses. Default: nil, the system's authorities and no certificate.
	DialTLS *tls.Config
	// Transports are more ways to dial, by their URL schemes, beside tcp, tls, unix, ws and wss, or instead of these: a
	// websocket.Transport with a Header, say.
	Transports []transport.Transport
}

// Conn is a connection to a peer that speaks commands. All methods may be called concurrently.
type Conn struct {
	*flyrpc.Conn
}

// Of returns the connection as one of commands: that of a handler's Context, or one of Server.Conns.
func Of(c *flyrpc.Conn) *Conn { return &Conn{c} }

// Call sends a command and decodes the result into reply, a pointer, or drops it if reply is nil. A nil body is none. A failure
// that the peer has answered is an *Error or an *Exception; any other one is a *flyrpc.Error, as of flyrpc.Conn.Call. When ctx ends,
// Call returns and the answer is dropped when it comes: the protocol has no way to tell the peer.
func (c *Conn) Call(ctx context.Context, action string, body, reply any) error {
	var meta flyrpc.Metadata
	err := c.Conn.Call(flyrpc.WithReplyMeta(ctx, &meta), action, body, reply)
	var e *flyrpc.Error
	if !errors.As(err, &e) || !e.Remote() {
		return err
	}
	f := fault{Action: action, Message: e.Message, Kind: string(e.Code), err: e}
	if c.isException(e, meta) {
		return &Exception{f}
	}
	return &Error{f}
}

// isException reports whether the peer has answered drs.exception, or what a FlyRPC peer's error would be as a command.
func (c *Conn) isException(e *flyrpc.Error, meta flyrpc.Metadata) bool {
	if c.PeerInfo().Version != 0 {
		return isException(e.Code)
	}
	return meta.Get(command.Exception) != ""
}

// isException reports whether an error with that code is answered with drs.exception.
func isException(code flyrpc.Code) bool { return command.IsException(string(code)) }

// Fire sends a command whose answer nobody waits for. It returns when the command is queued to be written, for which it
// waits until ctx ends. The error is a *flyrpc.Error, for a command that was not sent.
func (c *Conn) Fire(ctx context.Context, action string, body any) error {
	return c.SendMessage(ctx, action, body)
}

// Time returns the peer's time, by its answer to drs.ping. It has the precision of a millisecond, and is as old as the answer's way.
func (c *Conn) Time(ctx context.Context) (time.Time, error) {
	var ms int64
	if err := c.Call(ctx, ActionPing, nil, &ms); err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms), nil
}

// Authenticate shows credentials, an object as encoding/json makes it, to a FlyRPC server whose ServerOpts.Auth asks
// for them. It must be the first command that is sent.
func (c *Conn) Authenticate(ctx context.Context, credentials any) error {
	return c.Call(ctx, "fly.hello", map[string]any{"auth": credentials}, nil)
}

// Dial connects to a URL, such as tcp://localhost:7000, tls://example.com:7000, unix:///run/fly.sock or wss://example.com/path, or to a
// bare host:port, which means TCP. ctx bounds the dialling alone. Then it is as Connect.
func (p *Processor) Dial(ctx context.Context, addr string) (*Conn, error) {
	table, err := transport.NewTable(p.opts.transports()...)
	if err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	nc, err := table.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	return p.Connect(nc)
}

// transports returns the given transports, and the ways to dial that none of them replaces.
func (o *Options) transports() []transport.Transport {
	all := slices.Clone(o.Transports)
	for _, own := range []transport.Transport{transport.TLS{Config: o.DialTLS}, websocket.Transport{TLS: o.DialTLS}} {
		replaces := func(t transport.Transport) bool {
			return t != nil && slices.ContainsFunc(t.Schemes(), func(s string) bool { return slices.Contains(own.Schemes(), s) })
		}
		if !slices.ContainsFunc(o.Transports, replaces) {
			all = append(all, own)
		}
	}
	return all
}

// Connect speaks commands on nc, which belongs to the Processor from then on, and is closed with an error. Whoever has opened nc is trusted:
// ServerOpts.Auth isn't asked. A connection with the methods ReadText() ([]byte, error) and WriteText([]byte) error
// carries a command in each text message, any other one, such as that to a child process of transport.StartChild,
// in each line. The peer's commands are served from then on, when OnConnect has returned.
func (p *Processor) Connect(nc net.Conn) (*Conn, error) {
	c, err := p.ServeCommands(nc, p.opts.Codec)
	if err != nil {
		return nil, err
	}
	return Of(c), nil
}
