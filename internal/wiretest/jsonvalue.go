package wiretest

import (
	"bytes"
	"encoding/json"
	"errors"
)

// anyText is what a scenario writes in JSON where any text for people will do.
const anyText = "<text>"

// parseJSON decodes one JSON value.
func parseJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("more stands behind the JSON value")
	}
	return v, nil
}

// canonical returns JSON in the one form in which two texts of the same value are alike.
func canonical(data []byte) ([]byte, error) {
	v, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// alike is canonical, and takes texts for people for what they are where a canonical text says so.
func alike(data, want []byte) ([]byte, error) {
	v, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	if pattern, err := parseJSON(want); err == nil {
		v = hideTexts(v, pattern)
	}
	return json.Marshal(v)
}

// hideTexts replaces the texts in v for which the pattern has anyText.
func hideTexts(v, pattern any) any {
	switch pattern := pattern.(type) {
	case string:
		if text, ok := v.(string); ok && pattern == anyText && text != "" {
			return anyText
		}
	case map[string]any:
		if object, ok := v.(map[string]any); ok {
			for name := range object {
				object[name] = hideTexts(object[name], pattern[name])
			}
		}
	}
	return v
}
