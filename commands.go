package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/command"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// commandReserve is how many bytes a command may have beside its body.
const commandReserve = maxMetaLen

// CommandCodec turns commands into bytes and back; see package command.
type CommandCodec = command.Codec

// textConn is a connection of messages each of which is one command. Of net.Conn, Read and Write aren't used.
type textConn interface {
	net.Conn
	// ReadText returns the next message, which is the caller's until the next call. The error is io.EOF if the
	// other end has closed in order, and matches command.ErrLong for one that is longer than Server.maxCommand, after which
	// the next can be read.
	ReadText() ([]byte, error)
	// WriteText writes a message. Its caller has set the write deadline to WriteTimeout.
	WriteText([]byte) error
}

// maxCommand returns the most bytes of a command that is accepted.
func (s *Server) maxCommand() int { return s.ep.limits.maxMessage + commandReserve }

// serveCommands serves a connection that begins with a JSON command: a stream of lines.
func (e *entrant) serveCommands(nc net.Conn) error {
	lines := newLineConn(nc, e.srv)
	err := e.srv.serveCommandsOver(lines, e.pass, e.over, Credentials{}, e.leaveDoor)
	if err != nil && !errors.Is(err, ErrServerClosed) {
		lines.partFrom()
	}
	return err
}

// serveCommandsOver has a connection served whose messages are JSON commands, and returns nil without waiting for its
// end. The first command has to come within HelloTimeout, and credentials with it. With an error the connection isn't served, and
// is still the caller's, as p and over are. cr is what is known of the client already. enter is called before the connection
// is let in; it reports false if the server is stopping.
func (s *Server) serveCommandsOver(tc textConn, p pass, over chan struct{}, cr Credentials, enter func() bool) error {
	m := s.commandMode(nil)
	t := newCommandConn(tc, codecOf(m, nil), &s.ep.limits)
	if err := tc.SetReadDeadline(time.Now().Add(s.ep.limits.helloTimeout)); err != nil {
		return err
	}
	first, err := t.first()
	if err != nil {
		return err
	}
	id, err := s.meet(t, first, p, &cr)
	if err != nil {
		t.refuse(first, s.ep.errors.toWire(err))
		return fmt.Errorf("flyrpc: a client that speaks JSON commands: %w", err)
	}
	if err := t.begin(); err != nil {
		return err
	}
	if !enter() || s.startAs(t, p, over, m, id) == nil {
		return ErrServerClosed
	}
	return nil
}

// meet authenticates a client by its first command and takes that in.
func (s *Server) meet(t *commandConn, first *firstCommand, p pass, cr *Credentials) (id any, err error) {
	switch {
	case p.refusal != nil:
		return nil, p.refusal
	case errors.Is(first.err, command.ErrLong):
		return nil, Errorf(TooLong, "%w", first.err)
	case first.err != nil:
		return nil, Errorf(BadRequest, "%w", first.err)
	}
	hello := first.cmd.Action == helloPath
	if hello {
		if cr.Auth, err = helloAuth(t.ser(), first.cmd.Body); err != nil {
			return nil, err
		}
	}
	cr.RemoteAddr, cr.TLS = t.RemoteAddr(), tlsState(t)
	if id, err = s.checkCredentials(context.Background(), cr); err != nil {
		return nil, err
	}
	if !hello {
		t.take(&first.cmd)
		return id, nil
	}
	answer, err := t.ser().Encode(nil, commandHello{Agent: agent, Message: s.ep.limits.maxMessage, Calls: s.ep.limits.maxCalls, Info: s.ep.info})
	if err == nil {
		t.takeOwn(first.cmd.Key, command.Response, answer)
	}
	return id, err
}

// commandHello is the answer to the command fly.hello.
type commandHello struct {
	Agent   string          `json:"agent"`
	Message int             `json:"message"`
	Calls   int             `json:"calls"`
	Info    json.RawMessage `json:"info,omitempty"`
}

// helloAuth returns the credentials in the body of the command fly.hello.
func helloAuth(ser serializer.Serializer, body []byte) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	if ser.Name() != jsonser.Serializer.Name() {
		return nil, Errorf(BadRequest, "fly.hello in %s: credentials are JSON", ser.Name())
	}
	h, err := parseHello(body)
	if err != nil {
		return nil, Errorf(BadRequest, "the body of fly.hello is no JSON object: %w", err)
	}
	if len(h.Auth) > 0 && h.Auth[0] != '{' {
		return nil, Errorf(BadRequest, "auth in fly.hello is no JSON object")
	}
	return h.Auth, nil
}

// ServeCommands has a connection served at once as one of JSON commands, whoever speaks first, and returns it. So a program
// reaches peers of the DRS protocol that it dials, or starts as children: with its Router it serves their commands, as it serves those of
// clients, and by the Conn it sends commands to them. The connection belongs to the server from then on; it counts for MaxConns, and
// OnConnect and OnDisconnect run for it. ServerOpts.Auth is not asked: the program knows whom it has dialled, and over
// what. A connection with the methods ReadText() ([]byte, error) and WriteText([]byte) error, as one of package
// transport/websocket, carries a command in each text message, any other one in each line. A nil codec means JSON.
func (s *Server) ServeCommands(nc net.Conn, codec CommandCodec) (*Conn, error) {
	p, ok := s.admit(nc)
	if ok && p.refusal != nil {
		s.dropPass(p)
	}
	if p.refusal != nil {
		nc.Close()
		return nil, p.refusal
	}
	if ws, is := nc.(*websocket.Conn); is {
		ws.SetTextLimit(s.maxCommand())
	}
	tc, ok := nc.(textConn)
	if !ok {
		tc = newLineConn(nc, s)
	}
	m := s.commandMode(codec)
	t := newCommandConn(tc, codecOf(m, codec), &s.ep.limits)
	err := t.begin()
	if err == nil {
		if c := s.startAs(t, p, nil, m, nil); c != nil {
			return c, nil
		}
		err = localErr(Unavailable, NotSent, ErrServerClosed, "%v", ErrServerClosed)
	} else {
		s.dropPass(p)
	}
	nc.Close()
	return nil, err
}

// dropPass gives back the pass of a connection that isn't served.
func (s *Server) dropPass(p pass) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(&p)
}

// commandMode is the mode of a connection that speaks commands, in JSON if codec is nil.
func (s *Server) commandMode(codec CommandCodec) *mode {
	l := &s.ep.limits
	ser := jsonser.Serializer
	for _, own := range s.ep.sers {
		if own.Name() == ser.Name() {
			ser = own
		}
	}
	if codec != nil {
		ser = codec.Bodies()
	}
	return &mode{
		whole: true, foreign: true, json: ser.Name() == jsonser.Serializer.Name(), ser: ser, maxMessage: l.maxMessage, maxFrame: l.maxWhole(),
		peer: PeerInfo{Agent: "JSON commands", Serializer: ser.Name(), MaxCalls: l.maxCalls},
	}
}

// codecOf returns codec, or if that is nil that of JSON.
func codecOf(m *mode, codec CommandCodec) CommandCodec {
	if codec == nil {
		return command.JSON(m.ser)
	}
	return codec
}
