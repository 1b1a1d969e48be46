package flyrpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
)

// tellEnd says why a connection has ended: the log, and OnLostConn unless that was in order.
func (c *Conn) tellEnd() {
	level, order := slog.LevelWarn, c.inOrder()
	if order || c.pass.refusal != nil { // that has been logged
		level = slog.LevelDebug
	}
	args := []any{"conn", c.id, "peer", addrString(c.RemoteAddr()), "reason", fmt.Sprint(c.reason)}
	if c.fresh && level == slog.LevelWarn { // anybody can have that said
		c.srv.refusals.warn(c.ep.log, "flyrpc: connection closed", args...)
	} else {
		c.ep.log.Log(context.Background(), level, "flyrpc: connection closed", args...)
	}
	if !order {
		c.ep.lost(c.RemoteAddr(), c.reason)
	}
}

// lost tells the program of a connection that ended otherwise than in order.
func (ep *endpoint) lost(addr net.Addr, err error) {
	if ep.onLost == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			ep.log.Error("flyrpc: OnLostConn panicked", "panic", fmt.Sprint(r))
		}
	}()
	ep.onLost(addr, err)
}
