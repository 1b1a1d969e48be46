package flyrpc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/command"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// maxOpenKeys is how many commands may be open, or answered and not yet written, on a connection. The reader stops there.
const maxOpenKeys = 1 << 15

// commandConn is a connection of commands as a Conn sees it: it reads packets that are made of the other end's commands, and
// makes commands of the packets that are written. So limits, backpressure, shutting down, middleware and calls in both
// directions are those of any connection.
//
// Each command is a request, for each is answered. The answers of commandConn itself, to drs.ping and to what can't be
// understood, are those to a ping that it makes of such a command: so they wait in the bounded queue of the
// reader's own answers.
type commandConn struct {
	textConn
	codec  command.Codec
	limits *limits

	head []byte // of the packet that was read last; the reader's
	in   []byte // what is left of it
	body []byte // the same, of its payload
	out  []byte // of a packet that is being written; the writer's
	text []byte // the writer's, to encode a command in

	mu      sync.Mutex
	lastSeq uint16
	lastKey uint64
	open    map[uint16]*openCommand // commands of the other end by the sequences of their requests
	keys    map[string]struct{}     // the keys of those that are open
	calls   map[string]uint16       // calls of this end by their keys
	sent    map[uint16]string       // the same the other way round
	writing int                     // commands that are open no more, whose answers the transport may not have taken
	changed chan struct{}           // capacity 1: open or calls have changed
	done    chan struct{}
	closing sync.Once
}

// openCommand is a command of the other end that isn't answered.
type openCommand struct {
	key  []byte // as it came
	name string // in keys; "" if it isn't there
	own  *ownAnswer
}

// ownAnswer is what commandConn itself answers.
type ownAnswer struct {
	action string
	body   []byte
}

// newCommandConn returns the connection of packets over tc.
func newCommandConn(tc textConn, codec command.Codec, l *limits) *commandConn {
	return &commandConn{
		textConn: tc, codec: codec, limits: l,
		open: map[uint16]*openCommand{}, keys: map[string]struct{}{},
		calls: map[string]uint16{}, sent: map[uint16]string{},
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// NetConn returns what the commands are carried by.
func (t *commandConn) NetConn() net.Conn { return t.textConn }

// SetDeadline does nothing: reading and writing are bounded here.
func (t *commandConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, the same.
func (t *commandConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, the same.
func (t *commandConn) SetWriteDeadline(time.Time) error { return nil }

// CloseWrite ends what is sent, if the transport can do that.
func (t *commandConn) CloseWrite() error { return closeWrite(t.textConn) }

// Close closes the connection.
func (t *commandConn) Close() error {
	t.closing.Do(func() { close(t.done) })
	return t.textConn.Close()
}

func (t *commandConn) ser() serializer.Serializer { return t.codec.Bodies() }

// begin ends the handshake's limits.
func (t *commandConn) begin() error {
	pace := &textPace{conn: t.textConn, limits: t.limits}
	switch c := t.textConn.(type) {
	case *lineConn:
		c.lines.SetBefore(pace.bound)
	case *websocket.Conn:
		c.SetTextWait(pace.bound)
	}
	return t.textConn.SetReadDeadline(time.Time{})
}

// begun reports whether there is a packet to be read.
func (t *commandConn) begun() bool { return len(t.in) > 0 }

// Read reads of the packet that is made of the next command.
func (t *commandConn) Read(b []byte) (int, error) {
	for len(t.in) == 0 && len(t.body) == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.in)
	t.in = t.in[n:]
	m := copy(b[n:], t.body)
	if t.body = t.body[m:]; len(t.body) == 0 {
		t.body = nil
	}
	return n + m, nil
}

// next makes a packet of the next command, unless nothing comes of it. At the end of the commands it waits until all
// are answered.
func (t *commandConn) next() error {
	if err := t.awaitRoom(); err != nil {
		return err
	}
	text, err := t.ReadText()
	switch {
	case err == io.EOF:
		return t.finish()
	case errors.Is(err, command.ErrLong):
		t.takeFault(nil, TooLong, err.Error())
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return localErr(Unavailable, Unknown, err, "a command took longer than ReadTimeout (%v for each 16 KiB) to come", t.limits.readTimeout)
	case err != nil:
		return err
	}
	cmd, err := t.codec.Parse(text)
	if err != nil {
		t.takeFault(cmd.Key, BadRequest, err.Error())
		return nil
	}
	t.take(&cmd)
	return nil
}

// awaitRoom waits until less than maxOpenKeys commands are open.
func (t *commandConn) awaitRoom() error {
	for {
		t.mu.Lock()
		n := len(t.open)
		t.mu.Unlock()
		if n < maxOpenKeys {
			return nil
		}
		if err := t.awaitChange(); err != nil {
			return err
		}
	}
}

// awaitChange waits until a command is answered, or sent, or for goneTick.
func (t *commandConn) awaitChange() error {
	timer := time.NewTimer(goneTick)
	defer timer.Stop()
	select {
	case <-t.changed:
	case <-timer.C:
	case <-t.done:
		return net.ErrClosed
	}
	return nil
}

// change says that a command was answered, or sent.
func (t *commandConn) change() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// goneTick is how often it is looked whether a client that has ended what it sends is gone.
const goneTick = 5 * time.Second

// finish is next when the other end has sent its last command. A stream has still answers to carry, and calls of this end
// won't get any.
func (t *commandConn) finish() error {
	lines, stream := t.textConn.(*lineConn)
	if !stream {
		return io.EOF
	}
	for {
		if err := lines.gone(); err != nil {
			return err
		}
		if seq, ok := t.anyCall(); ok {
			t.packet(FlagResponse, seq, string(Unavailable), nil, []byte("the other end has ended what it sends, and not answered"))
			return nil
		}
		t.mu.Lock()
		n := len(t.open) + t.writing
		t.mu.Unlock()
		if n == 0 {
			return io.EOF
		}
		if err := t.awaitChange(); err != nil {
			return err
		}
	}
}

// anyCall takes a call of this end off those that are open.
func (t *commandConn) anyCall() (seq uint16, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for seq = range t.sent {
		ok = true
		break
	}
	t.drop(seq)
	return seq, ok
}

// packet makes a packet that is to be read.
func (t *commandConn) packet(flag Flag, seq uint16, code string, meta, body []byte) {
	t.head = appendHeader(t.head[:0], flag, seq, code, meta, len(body))
	t.in, t.body = t.head, body
}

// take makes a packet of a command, unless it is an answer that nobody waits for.
func (t *commandConn) take(cmd *command.Command) {
	switch {
	case cmd.Answers():
		t.takeAnswer(cmd)
		return
	case cmd.Action == command.Ping:
		now, err := t.ser().Encode(nil, time.Now().UnixMilli())
		if err == nil {
			t.takeOwn(cmd.Key, command.Response, now)
		}
		return
	}
	if err := checkAction(cmd.Action); err != nil {
		t.takeFault(cmd.Key, BadRequest, err.Error())
		return
	}
	seq, err := t.enter(cmd.Key, nil)
	if err != nil {
		t.takeFault(cmd.Key, err.Code, err.Message)
		return
	}
	t.packet(FlagWait, seq, cmd.Action, nil, cmd.Body)
}

// checkAction says why an action can be no path.
func checkAction(action string) error {
	if len(action) > 0 && action[0] == learnedMark {
		return fmt.Errorf("the action %.20q begins with byte 1, and no path begins so", action)
	}
	return checkCode(action)
}

// takeFault answers a command with drs.error, of which key is left out if it is too long.
func (t *commandConn) takeFault(key []byte, code Code, message string) {
	no := false
	body, err := t.ser().Encode(nil, command.Fault{Message: message, Kind: string(code), Processed: &no})
	if err != nil {
		return
	}
	if _, long := t.nameOf(key); long {
		key = nil
	}
	t.takeOwn(key, command.Error, body)
}

// takeOwn answers a command without anybody else.
func (t *commandConn) takeOwn(key []byte, action string, body []byte) {
	if _, long := t.nameOf(key); long {
		t.takeFault(nil, BadRequest, longKey().Message)
		return
	}
	seq, err := t.enter(key, &ownAnswer{action, body})
	if err != nil { // of the key alone, which is not for its own answers
		return
	}
	t.packet(FlagWait, seq, pingPath, nil, nil)
}

// takeAnswer makes a response of an answer to a command of this end.
func (t *commandConn) takeAnswer(cmd *command.Command) {
	var key string
	if t.ser().Decode(orEmpty(cmd.Key), &key) != nil {
		return
	}
	t.mu.Lock()
	seq, ok := t.calls[key]
	if ok {
		t.drop(seq)
	}
	t.mu.Unlock()
	switch {
	case !ok: // of a command that was fired, or given up
	case cmd.Action == command.Response:
		t.packet(FlagResponse, seq, "", nil, cmd.Body)
	default:
		t.packet(t.faultPacket(seq, cmd))
	}
}

// orEmpty returns a key, or something that is none.
func orEmpty(key []byte) []byte {
	if len(key) > 8*command.MaxKey {
		return nil
	}
	return key
}

// faultPacket returns the parts of the response that drs.error and drs.exception mean.
func (t *commandConn) faultPacket(seq uint16, cmd *command.Command) (flag Flag, _ uint16, code string, meta, body []byte) {
	f := command.ParseFault(t.ser(), cmd.Body)
	code = cleanCode(f.Kind)
	if cmd.Action == command.Exception {
		meta = AppendMeta(meta, MetaKey, command.Exception, "1") // by which package command tells it
		if code == "" {
			code = string(Internal)
		}
	} else if code == "" {
		code = string(Failed)
	}
	if f.Processed != nil && !*f.Processed {
		meta = AppendMeta(meta, MetaNotProcessed, "", "")
	}
	if n := len(f.Details); n > 0 && n < maxMetaLen-64 {
		meta = AppendMeta(meta, MetaDetails, "", f.Details)
	}
	if f.Message == "" {
		f.Message = "the other end answered " + cmd.Action
	}
	return FlagResponse, seq, code, meta, []byte(f.Message)
}
