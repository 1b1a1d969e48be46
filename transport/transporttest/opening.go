package transporttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// A Table takes the schemes, which stay what they are.
func checkSchemes(k *kit) {
	schemes := slices.Clone(k.Transport.Schemes())
	table, err := transport.NewTable(k.Transport)
	if err != nil {
		k.Fatalf("NewTable: %v", err)
	}
	for _, scheme := range schemes {
		if !slices.Contains(table.Schemes(), scheme) {
			k.Errorf("the Table doesn't know %q", scheme)
		}
	}
	if again := k.Transport.Schemes(); !slices.Equal(schemes, again) {
		k.Errorf("Schemes returns %q and then %q", schemes, again)
	}
	if scheme := k.parse(k.Addr(k)).Scheme; !slices.Contains(schemes, scheme) {
		k.Errorf("an address has the scheme %q, the transport has %q", scheme, schemes)
	}
}

// An address that is wrong in itself is said to be.
func checkWrongAddrs(k *kit) {
	if len(k.WrongAddrs) == 0 {
		k.Skip("no WrongAddrs are given")
	}
	for _, addr := range k.WrongAddrs {
		u := k.parse(addr)
		k.wantAddrError("Dial", addr, func(ctx context.Context) error { _, err := k.Transport.Dial(ctx, u); return err })
		k.wantAddrError("Listen", addr, func(ctx context.Context) error { _, err := k.Transport.Listen(ctx, u); return err })
	}
}

func (k *kit) wantAddrError(op, addr string, f func(context.Context) error) {
	k.Helper()
	ctx, cancel := k.context()
	defer cancel()
	err := k.do(op, func() error { return f(ctx) })
	var wrong *transport.AddrError
	if !errors.As(err, &wrong) {
		k.Errorf("%s(%s): %v; want an *AddrError", op, addr, err)
	} else if wrong.Problem == "" {
		k.Errorf("%s(%s): the *AddrError doesn't say what is wrong", op, addr)
	}
}

// A listener takes many connections, each its own.
func checkManyConnections(k *kit) {
	const many = 10
	l, addr := k.listen()
	var dialed, taken []net.Conn
	for range many {
		a, b := k.join(l, addr)
		dialed, taken = append(dialed, a), append(taken, b)
	}
	for i := range many {
		for _, ends := range [][2]net.Conn{{dialed[i], taken[i]}, {taken[i], dialed[i]}} {
			if k.MaxPacket > 0 {
				k.packet(ends[0], ends[1], i, min(k.MaxPacket, 10))
				continue
			}
			text := fmt.Sprintf("connection %d", i)
			k.send(ends[0], text)
			k.expect(ends[1], text)
		}
	}
}

// Closing a listener wakes Accept and frees the address, and connections go on.
func checkListenerClose(k *kit) {
	l, addr := k.listen()
	a, b := k.join(l, addr)
	accepting := make(chan error, 2)
	for range cap(accepting) {
		go func() { _, err := l.Accept(); accepting <- err }()
	}
	k.idle(moment)
	k.must("Close of the listener", l.Close)
	for range cap(accepting) {
		k.wantClosed("an Accept that waited", await(k, "an Accept that waited before Close", accepting))
	}
	k.wantClosed("Accept after Close", k.do("Accept", func() error { _, err := l.Accept(); return err }))
	_ = k.do("a second Close of the listener", func() error { l.Close(); return nil })
	k.exchange(a, b)
	u := k.parse(addr)
	ctx, cancel := k.context()
	defer cancel()
	again, err := k.Transport.Listen(ctx, u)
	if err != nil {
		k.Fatalf("Listen at the address of a listener that was closed: %v", err)
	}
	k.Cleanup(func() { again.Close() })
	a, b = k.join(again, addr)
	k.exchange(a, b)
}

// Dialling an address where nobody listens fails at once, and the error says where.
func checkDialNobody(k *kit) {
	l, addr := k.listen()
	k.must("Close of the listener", l.Close)
	ctx, cancel := k.context()
	defer cancel()
	c, err := k.dialWithin(ctx, addr)
	switch u := k.parse(addr); {
	case err == nil:
		c.Close()
		k.Fatalf("Dial(%s) has connected, and nobody listens", addr)
	case c != nil:
		k.Errorf("Dial(%s) returned a connection and an error", addr)
	case ctx.Err() != nil:
		k.Errorf("Dial(%s), where nobody listens, has waited for its context to end", addr)
	case !names(err, u):
		k.Errorf("Dial(%s): the error %q doesn't say where nobody listens", addr, err)
	}
}

// names reports whether an error says which address it is about.
func names(err error, u *url.URL) bool {
	where := u.Host
	if where == "" {
		where = u.Path
	}
	if where == "" && u.User != nil {
		where = "@"
	}
	return strings.Contains(err.Error(), where)
}

// dialWithin is Dial with a context that the check gives.
func (k *kit) dialWithin(ctx context.Context, addr string) (c net.Conn, err error) {
	k.Helper()
	u := k.parse(addr)
	err = k.do("Dial", func() (err error) { c, err = k.Transport.Dial(ctx, u); return err })
	return c, err
}

// A context that has ended ends Dial, and one that ends later changes nothing.
func checkDialContext(k *kit) {
	l, addr := k.listen()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if c, err := k.dialWithin(ended, addr); err == nil {
		c.Close()
		k.Errorf("Dial has connected though its context had ended")
	} else if !errors.Is(err, context.Canceled) {
		k.Errorf("Dial with a context that was cancelled: %v; want an error that matches context.Canceled", err)
	}
	past, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	if c, err := k.dialWithin(past, addr); err == nil {
		c.Close()
		k.Errorf("Dial has connected though its context's deadline had passed")
	} else if !isTimeout(err) {
		k.Errorf("Dial with a deadline that had passed: %v; want a timeout", err)
	}
	ctx, cancel := k.context()
	accepting := k.accept(l)
	c, err := k.dialWithin(ctx, addr)
	if err != nil {
		k.Fatalf("Dial: %v", err)
	}
	k.Cleanup(func() { c.Close() })
	if k.Unreliable {
		_, _ = c.Write([]byte{0})
	}
	taken := await(k, "Accept", accepting)
	if taken.err != nil {
		k.Fatalf("Accept: %v", taken.err)
	}
	k.Cleanup(func() { taken.conn.Close() })
	if k.Unreliable {
		k.drain(taken.conn)
	}
	cancel()
	k.idle(moment)
	k.exchange(c, taken.conn)
	k.exchange(taken.conn, c)
}

// isTimeout reports whether an error is that of a deadline, in package net's way or in context's.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
