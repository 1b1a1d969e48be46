package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
	"github.com/go-flyrpc/flyrpc/transport"
)

// The limits of the server that aren't times. A good connection makes a fraction of a call a second.
const (
	maxCalls   = 64       // open at once on a connection
	perSecond  = 100      // calls and messages of a connection
	burst      = 200      // of them at once
	maxRefused = 200      // calls refused for that before the connection is closed
	largeReply = 16 << 10 // bytes, about
	item       = 1 << 10  // bytes of an item of a stream
)

// options returns the options of the server that is put under stress: all its limits are here, in routes and above.
func options(patience time.Duration, log slog.Handler) *flyrpc.ServerOpts {
	return &flyrpc.ServerOpts{
		Auth:          func(context.Context, *flyrpc.Credentials) (any, error) { return nil, nil }, // so that silence isn't suffered
		HelloTimeout:  patience,
		ReadTimeout:   patience,
		WriteTimeout:  patience,
		MaxCalls:      maxCalls,
		MaxMessage:    1 << 20,
		MaxQueued:     64 << 10,
		StreamWindow:  64 << 10,
		MessageWindow: 64 << 10,
		Logger:        slog.New(log),
		NoHTTP:        true, // so that all garbage is taken for packets
		NoCommands:    true,
	}
}

// routes registers the handlers.
func routes(srv *flyrpc.Server, patience time.Duration, l *ledger) {
	srv.OnConnect(func(ctx *flyrpc.Context) error {
		ctx.Conn().SetValue(refusedKey{}, new(atomic.Int64))
		return nil
	})
	srv.Use(cutFlooders(l), middleware.RateLimit(perSecond, burst, nil))
	srv.OnMessage("/echo", func(message string) string { return message })
	srv.OnMessage("/note", func(string) {})
	large := strings.Repeat("large", largeReply/5+1)
	srv.OnMessage("/large", func() string { return large })

	limited := srv.With(middleware.Timeout(patience))
	limited.OnMessage("/slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	tick := strings.Repeat("tick", item/4)
	limited.OnMessage("/ticks", func() iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for yield(tick, nil) {
			}
		}
	})
}

// refusedKey is the key under which a Conn has the number of calls that were refused.
type refusedKey struct{}

// cutFlooders closes connections that go on after RateLimit has refused many of their calls. It enters all
// calls that fail into the ledger.
func cutFlooders(l *ledger) flyrpc.Middleware {
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			reply, err := next(ctx)
			code := ctx.CodeOf(err)
			if code != "" {
				l.fail(ctx.Path(), code)
			}
			if code == flyrpc.Busy {
				if n := ctx.Conn().Value(refusedKey{}).(*atomic.Int64).Add(1); n == maxRefused {
					l.note(ctx.Conn(), "goes on calling after calls were refused with BUSY (a middleware of the program)")
					ctx.Conn().Close()
				}
			}
			return reply, err
		}
	}
}

// runServer serves on a free port, and answers on its standard input and output what the program that has
// started it wants to know, until that closes them.
func runServer(patience time.Duration) error {
	book := newLedger()
	srv := flyrpc.NewServer(options(patience, book))
	routes(srv, patience, book)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	control := flyrpc.NewServer(nil)
	control.OnMessage("/addr", func() string { return l.Addr().String() })
	peak := watchMemory()
	control.OnMessage("/state", func() *state { return stateOf(srv, book, peak) })
	conn, err := transport.Stdio()
	if err == nil {
		control.ServeConn(conn)
	}
	peak.stop()
	err = errors.Join(err, control.Close(), srv.Close())
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
