package wiretest

import (
	"encoding/json"
	"fmt"
)

// limits are the numbers in the hello of one end, and what it inflates.
type limits struct {
	Inflate  []string `json:"inflate"`
	Message  *int     `json:"message"`
	Frame    *int     `json:"frame"`
	Calls    *int     `json:"calls"`
	Window   *int     `json:"window"`
	Messages *int     `json:"messages"`
	Codes    *int     `json:"codes"`
}

// field returns the number with a name and its default.
func (l *limits) field(name string) (value *int, def int, ok bool) {
	switch name {
	case "message":
		return l.Message, 4 << 20, true
	case "frame":
		return l.Frame, 64 << 10, true
	case "calls":
		return l.Calls, 1024, true
	case "window":
		return l.Window, 64 << 10, true
	case "messages":
		return l.Messages, 64 << 10, true
	case "codes":
		return l.Codes, maxCodes, true
	}
	return nil, 0, false
}

// has reports whether there is a limit with a name.
func (l *limits) has(name string) bool {
	_, _, ok := l.field(name)
	return ok
}

// get returns the limit with a name. 0 is the default, but for codes.
func (l *limits) get(name string) int {
	value, def, _ := l.field(name)
	if value != nil && (*value != 0 || name == "codes") {
		return *value
	}
	return def
}

// fields are the fields of a JSON object.
type fields map[string]json.RawMessage

// ownHello returns what the runner says in hello, with the changes of a scenario: null leaves a
// field out.
func ownHello(changes fields) fields {
	h := fields{
		"flyrpc": json.RawMessage("2"), "agent": json.RawMessage(`"wiretest"`),
		"serializers": json.RawMessage(`["json"]`), "inflate": json.RawMessage("[]"),
		"message": json.RawMessage("4194304"), "frame": json.RawMessage("65536"), "calls": json.RawMessage("1024"),
		"window": json.RawMessage("65536"), "messages": json.RawMessage("65536"), "codes": json.RawMessage("0"),
	}
	for name, value := range changes {
		if string(value) == "null" {
			delete(h, name)
		} else {
			h[name] = value
		}
	}
	return h
}

// encode returns h as JSON, in the order of the names.
func (h fields) encode() ([]byte, error) { return json.Marshal(h) }

// parseLimits reads the limits out of a hello.
func parseLimits(hello []byte) (limits, error) {
	var l limits
	if err := json.Unmarshal(hello, &l); err != nil {
		return limits{}, fmt.Errorf("hello %.200q: %w", hello, err)
	}
	for _, name := range []string{"message", "frame", "calls", "window", "messages", "codes"} {
		if n := l.get(name); n < 0 {
			return limits{}, fmt.Errorf("hello says %q is %d", name, n)
		}
	}
	return l, nil
}
