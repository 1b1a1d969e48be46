package command

import (
	"encoding/json"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// Fault is the body of drs.error and drs.exception.
type Fault struct {
	// Message is for people.
	Message string `json:"message"`
	// Kind says what kind of failure it is, in a word; it may be empty.
	Kind string `json:"kind,omitempty"`
	// Processed is false if the command's handler never started. nil means that nothing is known.
	Processed *bool `json:"processed,omitempty"`
	// Details are encoded by the codec's serializer, as JSON is; nil means that there are none.
	Details json.RawMessage `json:"details,omitempty"`
}

// maxText is how much of a body that isn't understood is shown as an error's message.
const maxText = 1 << 10

// ParseFault reads the body of drs.error or drs.exception: a text, or an object with message and kind. Of anything else
// the body itself is the message.
func ParseFault(ser serializer.Serializer, body []byte) (f Fault) {
	var text string
	switch {
	case len(body) == 0:
	case ser.Decode(body, &text) == nil:
		f.Message = text
	case ser.Decode(body, &f) != nil || f.Message == "":
		f.Message = string(body[:min(len(body), maxText)])
	}
	return f
}

// IsException reports whether an error of that kind, a flyrpc.Code, is answered with drs.exception: a handler has not given it a
// code, or a code that says that it failed unexpectedly.
func IsException(kind string) bool {
	switch kind {
	case "ERROR", "HANDLER_PANIC", "INTERNAL":
		return true
	}
	return false
}
