package command

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
)

var codec = JSON(jsonser.Serializer)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in                string
		action, key, body string
		err               string
	}{
		{`{"action":"a","key":"k","body":{"x": 1}}`, "a", `"k"`, `{"x": 1}`, ""},
		{` { "Body" : null , "KEY":7, "action":"\u00e9", "version": 3 } `, "é", `7`, ``, ""},
		{`{"action":"a","action":"b"}`, "b", ``, ``, ""},
		{`{"key":"k"}`, "", `"k"`, ``, `no "action"`},
		{`{"action":null,"key":"k"}`, "", `"k"`, ``, `no "action"`},
		{`{"action":["a"],"key":"k"}`, "", `"k"`, ``, `action is the array`},
		{`"a"`, "", ``, ``, `here is the string`},
		{`{"action":"a"}{"action":"b"}`, "", ``, ``, `no JSON`},
		{`{"action":"a","body":[}`, "", ``, ``, `no JSON`},
		{strings.Repeat("[", 1<<20), "", ``, ``, `exceeded max depth`},
	} {
		cmd, err := codec.Parse([]byte(tc.in))
		if cmd.Action != tc.action || string(cmd.Key) != tc.key || string(cmd.Body) != tc.body {
			t.Errorf("%.40s: got %q, %q, %q", tc.in, cmd.Action, cmd.Key, cmd.Body)
		}
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%.40s: %v, want %q", tc.in, err, tc.err)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, tc := range []struct {
		cmd  Command
		want string
	}{
		{Command{Action: "a"}, `{"action":"a"}`},
		{Command{Action: "\"\n", Key: []byte("7"), Body: []byte("{\"a\":\r\n 1}")}, `{"action":"\"\n","key":7,"body":{"a":1}}`},
		{Command{Action: "a", Body: []byte("[1, 2]")}, `{"action":"a","body":[1, 2]}`},
	} {
		got, err := codec.Append([]byte("x"), &tc.cmd)
		if string(got) != "x"+tc.want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, tc.want)
		}
	}
	for _, cmd := range []Command{{Action: "a", Body: []byte("{")}, {Action: "a", Key: []byte("")}, {Action: "a", Body: []byte("1}\n{")}} {
		if got, err := codec.Append([]byte("x"), &cmd); string(got) != "x" || err == nil {
			t.Errorf("%+v: got %s, %v", cmd, got, err)
		}
	}
}

func TestParseFault(t *testing.T) {
	no := false
	for in, want := range map[string]Fault{
		``:                           {},
		`"text"`:                     {Message: "text"},
		`{"message":"m","kind":"k"}`: {Message: "m", Kind: "k"},
		`{"message":"m","details":[1],"processed":false}`: {Message: "m", Details: json.RawMessage("[1]"), Processed: &no},
		`{"message":7}`: {Message: `{"message":7}`},
		`[1]`:           {Message: "[1]"},
		`{"kind":"k"}`:  {Message: `{"kind":"k"}`, Kind: "k"},
	} {
		if got := ParseFault(jsonser.Serializer, []byte(in)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", in, got, want)
		}
	}
}

// What is parsed is what encoding/json finds, and what is appended of it says the same.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		`{"action":"a","key":"k","body":{"x":[1,2,{"y":null}]}}`, `{"ACTION":"a"}`, `{"action":"\ud800","body":"\u2028"}`,
		`{"action":"a","key":{"a":1}}`, `[]`, `{"action":1}`, "{\"action\":\"a\",\"body\":[1,\n2]}", `{"action":"drs.error","body":{"message":"m"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := codec.Parse(data)
		var m map[string]json.RawMessage
		if err != nil {
			return
		}
		if jsonErr := json.Unmarshal(data, &m); jsonErr != nil {
			t.Fatalf("%q was taken, and is no object: %v", data, jsonErr)
		}
		text, err := codec.Append(nil, &cmd)
		if err != nil || strings.ContainsAny(string(text), "\r\n") {
			t.Fatalf("%+v: %q, %v", cmd, text, err)
		}
		again, err := codec.Parse(text)
		if err != nil || again.Action != cmd.Action || !sameJSON(again.Key, cmd.Key) || !sameJSON(again.Body, cmd.Body) {
			t.Fatalf("%q: got %+v, want %+v", text, again, cmd)
		}
		if cmd.Answers() {
			ParseFault(jsonser.Serializer, cmd.Body)
		}
	})
}

func sameJSON(a, b []byte) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
