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
	c.ep.log.Log(context.Background(), level, "flyrpc: connection closed", "conn", c.id, "peer", addrString(c.RemoteAddr()), "reason", fmt.Sprint(c.reason))
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
