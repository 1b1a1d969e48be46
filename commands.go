package flyrpc

import (
	"errors"
	"net"
)

// serveCommands serves a connection that begins with a JSON command.
func (e *entrant) serveCommands(net.Conn) error {
	return errors.New("flyrpc: the client speaks JSON commands, which are not served")
}
