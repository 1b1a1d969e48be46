package flyrpc

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/command"
)

// Write takes packets, whole ones or parts, and writes the commands that they mean.
func (t *commandConn) Write(b []byte) (int, error) {
	data := b
	if len(t.out) > 0 {
		t.out = append(t.out, b...)
		data = t.out
	}
	for len(data) > 0 {
		h, n, err := parseHeader(data)
		if err == nil && uint64(len(data)-n) < h.length {
			err = ErrShortPacket
		}
		if err == ErrShortPacket {
			break
		}
		if err != nil {
			return 0, err
		}
		end := n + int(h.length)
		if err := t.writePacket(&h, data[n:end]); err != nil {
			return 0, err
		}
		data = data[end:]
	}
	t.keep(data)
	if f, ok := t.textConn.(interface{ Flush() error }); ok {
		if err := f.Flush(); err != nil {
			return 0, err
		}
	}
	t.mu.Lock()
	t.writing = 0
	t.mu.Unlock()
	t.change()
	return len(b), t.textConn.SetWriteDeadline(time.Time{})
}

// keep keeps the beginning of a packet until the rest comes.
func (t *commandConn) keep(data []byte) {
	if len(data) == 0 && cap(t.out) > maxWrite {
		t.out = nil
		return
	}
	t.out = append(t.out[:0], data...)
}

// writePacket writes the command that a packet means, if it means one.
func (t *commandConn) writePacket(h *header, payload []byte) error {
	meta, body, err := splitMeta(h.flag, payload)
	if err != nil {
		return err
	}
	cmd, err := t.commandOf(h, meta, body)
	if cmd == nil || err != nil {
		return err
	}
	text, err := t.codec.Append(t.text[:0], cmd)
	if err != nil && cmd.Action == command.Response {
		text, err = t.codec.Append(t.text[:0], t.unfit(cmd, err))
	}
	if err != nil {
		return fmt.Errorf("flyrpc: %w", err)
	}
	if t.text = text; cap(text) > maxWrite {
		t.text = nil
	}
	if err := t.textConn.SetWriteDeadline(time.Now().Add(t.limits.writeTimeout)); err != nil {
		return err
	}
	return t.WriteText(text)
}

// commandOf returns the command that a packet means, or nil.
func (t *commandConn) commandOf(h *header, meta, body []byte) (*command.Command, error) {
	switch {
	case h.flag&(FlagStream|zipBits) != 0:
		return nil, errors.New("flyrpc: a packet of a stream, or a compressed one, can be no command")
	case h.flag&FlagResponse != 0:
		return t.answerOf(h, meta, body)
	case string(h.code) == byePath:
		return nil, nil
	}
	cmd := &command.Command{Action: string(h.code)}
	seq := h.seq
	if h.flag&FlagWait == 0 {
		seq = 0
	}
	var err error
	if cmd.Action == pingPath {
		cmd.Action = command.Ping
	} else if cmd.Body, err = t.valueOf(meta, body); err != nil {
		return nil, err
	}
	cmd.Key, err = t.ser().Encode(nil, t.newKey(seq))
	return cmd, err
}

// answerOf returns the command that a response means, or nil if it answers nothing.
func (t *commandConn) answerOf(h *header, meta, body []byte) (*command.Command, error) {
	t.mu.Lock()
	open := t.open[h.seq]
	if open != nil {
		t.writing++
	}
	delete(t.open, h.seq)
	if open != nil && open.name != "" {
		delete(t.keys, open.name)
	}
	t.mu.Unlock()
	if open == nil {
		return nil, nil
	}
	cmd := &command.Command{Action: command.Response, Key: open.key}
	var err error
	switch {
	case open.own != nil:
		cmd.Action, cmd.Body = open.own.action, open.own.body
	case len(h.code) > 0:
		cmd.Action, cmd.Body, err = t.faultOf(Code(h.code), meta, body)
	default:
		cmd.Body, err = t.valueOf(meta, body)
		if err == nil && cmd.Body == nil {
			cmd.Body, err = t.ser().Encode(nil, nil)
		}
	}
	return cmd, err
}

// valueOf returns a body as a command has it: encoded, or nil if there is none.
func (t *commandConn) valueOf(meta, body []byte) ([]byte, error) {
	for e, err := range ParseMeta(meta) {
		switch {
		case err != nil:
			return nil, err
		case e.ID != MetaSerializer:
		case string(e.Value) == rawText:
			return t.ser().Encode(nil, string(body))
		case string(e.Value) == rawBytes:
			return t.ser().Encode(nil, body)
		}
	}
	if len(body) == 0 {
		return nil, nil
	}
	return body, nil
}

// faultOf returns the action and body that an error means: drs.error for one that a handler means for its caller, as it has
// given it a code, drs.exception for others.
func (t *commandConn) faultOf(code Code, meta, message []byte) (action string, body []byte, err error) {
	f := command.Fault{Message: string(message), Kind: string(code)}
	for e, err := range ParseMeta(meta) {
		switch {
		case err != nil:
			return "", nil, err
		case e.ID == MetaNotProcessed:
			no := false
			f.Processed = &no
		case e.ID == MetaDetails:
			f.Details = e.Value
		}
	}
	action = command.Error
	if command.IsException(f.Kind) {
		action = command.Exception
	}
	body, err = t.ser().Encode(nil, f)
	if err != nil && f.Details != nil {
		f.Details = nil
		body, err = t.ser().Encode(nil, f)
	}
	return action, body, err
}

// unfit returns the answer instead of one that can't be encoded.
func (t *commandConn) unfit(cmd *command.Command, cause error) *command.Command {
	f := command.Fault{Message: "the reply can't be encoded: " + cause.Error(), Kind: string(Internal)}
	body, err := t.ser().Encode(nil, f)
	if err != nil {
		body = nil
	}
	return &command.Command{Action: command.Exception, Key: cmd.Key, Body: body}
}

// firstCommand is the command by which a client is met.
type firstCommand struct {
	cmd command.Command
	err error // why it can't be understood
}

// first reads the first command, within the read deadline that is set.
func (t *commandConn) first() (*firstCommand, error) {
	text, err := t.ReadText()
	if errors.Is(err, command.ErrLong) {
		return &firstCommand{err: err}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("flyrpc: the first command didn't come within %v: %w", t.limits.helloTimeout, err)
	}
	cmd, err := t.codec.Parse(text)
	return &firstCommand{cmd, err}, nil
}

// refuse answers the first command of a client that isn't let in.
func (t *commandConn) refuse(first *firstCommand, w wireError) {
	t.takeFault(first.cmd.Key, w.code, w.message)
	_, _ = t.Write(appendHeader(nil, FlagResponse, t.lastSeq, "", nil, 0))
}
