// Package command reads and writes the commands of the DRS protocol: an action, a key that names
// the call, and a body. It knows neither connections nor what becomes of a command.
package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// The actions that DRS keeps for itself.
const (
	Response  = "drs.response"  // answers a command; the body is the result
	Error     = "drs.error"     // answers a command with an error that is meant for the caller
	Exception = "drs.exception" // answers a command that failed unexpectedly
	Ping      = "drs.ping"      // asks for the time in milliseconds
)

// MaxKey is the longest key of a command, in bytes: of text without its quotes and escapes, or else of the
// value as it is written.
const MaxKey = 256

// Command is one command.
type Command struct {
	// Action is the path of what is called, or one of drs.response, drs.error and drs.exception, which answer.
	Action string
	// Key names the call, as its sender has encoded it. nil means that there is none.
	Key []byte
	// Body is the message, encoded by the codec's serializer. nil means that there is none.
	Body []byte
}

// Answers reports whether the command is the answer to another one.
func (c *Command) Answers() bool {
	return c.Action == Response || c.Action == Error || c.Action == Exception
}

// Codec turns commands into bytes and back. Its methods may be called concurrently.
type Codec interface {
	// Bodies returns the serializer of keys and bodies.
	Bodies() serializer.Serializer
	// Parse reads one command, which may share data's memory. With an error it has what could be read of it.
	Parse(data []byte) (Command, error)
	// Append appends a command to dst and returns the extended slice. What it appends has no newline, which
	// separates commands on a stream. With an error dst comes back as it was.
	Append(dst []byte, c *Command) ([]byte, error)
}

// JSON returns the codec of JSON commands, whose bodies ser encodes as JSON.
func JSON(ser serializer.Serializer) Codec { return jsonCodec{ser} }

type jsonCodec struct{ ser serializer.Serializer }

func (c jsonCodec) Bodies() serializer.Serializer { return c.ser }

// members are what is read of a command's object. Others are ignored.
type members struct {
	Action *string         `json:"action"`
	Key    json.RawMessage `json:"key"`
	Body   json.RawMessage `json:"body"`
}

// Parse reads a command. As encoding/json does, it takes the names of members in any case and the last of
// several. null is nothing.
func (c jsonCodec) Parse(data []byte) (Command, error) {
	var m members
	err := json.Unmarshal(data, &m)
	cmd := Command{Key: orNil(m.Key), Body: orNil(m.Body)}
	if m.Action != nil {
		cmd.Action = *m.Action
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return cmd, fmt.Errorf(`a command is an object {"action": text, "key": text, "body": anything}; here is the %s`, wrong.Value)
	case errors.As(err, &wrong):
		return cmd, fmt.Errorf(`a command is an object {"action": text, "key": text, "body": anything}; here %s is the %s`, wrong.Field, wrong.Value)
	case err != nil:
		return Command{}, fmt.Errorf("the command is no JSON: %w", err)
	case cmd.Action == "":
		return cmd, errors.New(`the command has no "action", which says what is called`)
	}
	return cmd, nil
}

// orNil returns a value, or nil for null.
func orNil(raw json.RawMessage) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// Append appends a command. A key or body that is no JSON, as only a type's own MarshalJSON can make it, is an error.
func (c jsonCodec) Append(dst []byte, cmd *Command) ([]byte, error) {
	action, err := json.Marshal(cmd.Action)
	if err != nil {
		return dst, err
	}
	out := append(dst, `{"action":`...)
	out = append(out, action...)
	for _, m := range []struct {
		name  string
		value []byte
	}{{`,"key":`, cmd.Key}, {`,"body":`, cmd.Body}} {
		if m.value == nil {
			continue
		}
		out = append(out, m.name...)
		if out, err = appendValue(out, m.value); err != nil {
			return dst, fmt.Errorf("command %q: %w", cmd.Action, err)
		}
	}
	return append(out, '}'), nil
}

// appendValue appends a JSON value, without newlines.
func appendValue(dst, value []byte) ([]byte, error) {
	if !json.Valid(value) {
		return dst, fmt.Errorf("%.40q... is no JSON", value)
	}
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return append(dst, value...), nil
	}
	buf := bytes.NewBuffer(dst)
	if err := json.Compact(buf, value); err != nil {
		return dst, err
	}
	return buf.Bytes(), nil
}
