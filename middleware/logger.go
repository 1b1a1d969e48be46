package middleware

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// LoggerOptions are the options of Logger. nil and the zero value mean the defaults.
type LoggerOptions struct {
	// Logger takes the lines. Default: what slog.Default() is at the time of the call.
	Logger *slog.Logger
	// Level says how important a call is that ended with a code, which is empty for success. It may be called
	// concurrently. Default: Error for INTERNAL and HANDLER_PANIC, Info for success and CANCELED, Warn for the rest.
	Level func(code flyrpc.Code) slog.Level
	// Identity is the text for what flyrpc.Conn.Identity returned, which isn't nil. It may be called concurrently.
	// Default: a string as it is, what String returns if there is one, and else nothing, since it may hold secrets.
	Identity func(identity any) string
	// Errors adds the text of errors. Default: only if the Logger takes Debug, since they may quote what the caller sent.
	Errors bool
}

// Logger returns a Middleware that writes a line when a call or message has been handled: a stream's when it has ended,
// and also when the handler panics. Metadata and payloads are never in it. The line is "call" and has
//
//   - conn, the connection's ID, and peer, its address;
//   - path, as the caller sent it;
//   - code, what the handler returned, as flyrpc.Context.CodeOf says; OK for success, also if the handler answered with
//     Context.Reply, which middleware doesn't see;
//   - duration, from when the packet was read;
//   - request_bytes, the size of the message, and reply_bytes if the reply is a []byte or a string: others
//     are encoded later;
//   - identity, the name of the Principal if Auth is inside of Logger and found one, or else the text of the
//     connection's identity, if there is any;
//   - request_id, if RequestID is inside or outside of Logger;
//   - error, if LoggerOptions.Errors says so.
func Logger(opts *LoggerOptions) flyrpc.Middleware {
	var o LoggerOptions
	if opts != nil {
		o = *opts
	}
	if o.Level == nil {
		o.Level = levelOf
	}
	if o.Identity == nil {
		o.Identity = plainText
	}
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (reply any, err error) {
			n := &notes{requestID: RequestIDOf(ctx), principal: PrincipalOf(ctx)}
			code := flyrpc.HandlerPanic // unless next returns
			defer func() { o.log(ctx, n, code, reply, err) }()
			reply, err = next(withValue(ctx, notesKey, n))
			code = ctx.CodeOf(err)
			return reply, err
		}
	}
}

// levelOf is the default of LoggerOptions.Level.
func levelOf(code flyrpc.Code) slog.Level {
	switch code {
	case "", flyrpc.Canceled:
		return slog.LevelInfo
	case flyrpc.Internal, flyrpc.HandlerPanic:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// plainText is the default of LoggerOptions.Identity.
func plainText(identity any) string {
	switch v := identity.(type) {
	case string:
		return v
	case fmt.Stringer:
		return v.String()
	}
	return ""
}

// log writes the line of a call.
func (o *LoggerOptions) log(ctx *flyrpc.Context, n *notes, code flyrpc.Code, reply any, err error) {
	log, level := o.Logger, o.Level(code)
	if log == nil {
		log = slog.Default()
	}
	if !log.Enabled(ctx, level) {
		return
	}
	if code == "" {
		code = "OK"
	}
	attrs := append(make([]slog.Attr, 0, 10),
		slog.Uint64("conn", ctx.Conn().ID()),
		slog.String("path", ctx.Path()),
		slog.String("code", string(code)),
		slog.Duration("duration", time.Since(ctx.ReceivedAt())),
		slog.Int("request_bytes", ctx.Size()))
	if size, ok := sizeOf(reply); ok && err == nil {
		attrs = append(attrs, slog.Int("reply_bytes", size))
	}
	if addr := ctx.Conn().RemoteAddr(); addr != nil {
		attrs = append(attrs, slog.String("peer", addr.String()))
	}
	id, p := n.read()
	if who := o.who(ctx, p); who != "" {
		attrs = append(attrs, slog.String("identity", who))
	}
	if id != "" {
		attrs = append(attrs, slog.String("request_id", id))
	}
	if err != nil && (o.Errors || log.Enabled(ctx, slog.LevelDebug)) {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	log.LogAttrs(ctx, level, "call", attrs...)
}

// who returns the text for whoever calls.
func (o *LoggerOptions) who(ctx *flyrpc.Context, p *Principal) string {
	if p != nil {
		return p.Name
	}
	if identity := ctx.Conn().Identity(); identity != nil {
		return o.Identity(identity)
	}
	return ""
}

// sizeOf returns the size of a reply that is sent as it is.
func sizeOf(reply any) (n int, ok bool) {
	switch v := reply.(type) {
	case []byte:
		return len(v), true
	case string:
		return len(v), true
	}
	return 0, false
}
