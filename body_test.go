package flyrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

// stdJSONSerializer is a Serializer made of encoding/json, which is none of FlyRPC's own.
func stdJSONSerializer() serializer.Serializer {
	return serializer.Adapt("json", json.Marshal, json.Unmarshal)
}

type (
	bodyMessage struct{ ID int }
	bodyText    string
)

// TestBodyDecode goes through every kind of body and every kind of target.
func TestBodyDecode(t *testing.T) {
	refused := errors.New("refused")
	// What each target holds when a body has been decoded into it; it held a value before.
	for _, c := range []struct {
		kind   bodyKind
		data   string
		target any
		want   any // or refused
	}{
		{encodedBody, `"YWI="`, &[]byte{9}, []byte("ab")},
		{encodedBody, `"ab"`, ptr("old"), "ab"},
		{encodedBody, `"ab"`, ptr[any]("old"), "ab"},
		{encodedBody, `{"ID":7}`, ptr[any]("old"), map[string]any{"ID": 7.0}},
		{encodedBody, `{"ID":7}`, &bodyMessage{1}, bodyMessage{7}},
		{encodedBody, `{"ID":7}`, ptr(&bodyMessage{1}), &bodyMessage{7}},
		{encodedBody, `"ab"`, ptr(bodyText("old")), bodyText("ab")},
		{encodedBody, `null`, ptr(&bodyMessage{1}), (*bodyMessage)(nil)},
		{encodedBody, `{"ID"`, &bodyMessage{1}, refused},
		{encodedBody, `7`, ptr("old"), refused},
		{encodedBody, `7`, &[]byte{9}, refused},
		{encodedBody, `7 8`, ptr(1), refused},

		// nil: an empty body leaves everything alone.
		{encodedBody, "", &[]byte{9}, []byte{9}},
		{encodedBody, "", ptr("old"), "old"},
		{encodedBody, "", ptr[any]("old"), "old"},
		{encodedBody, "", &bodyMessage{1}, bodyMessage{1}},
		{plainBody, "", ptr[any]("old"), "old"},
		{plainBody, "", &bodyMessage{1}, bodyMessage{1}},

		{bytesBody, "ab", &[]byte{9}, []byte("ab")},
		{bytesBody, "ab", ptr("old"), "ab"},
		{bytesBody, "ab", ptr[any]("old"), []byte("ab")},
		{bytesBody, `{"ID":7}`, &bodyMessage{1}, refused},
		{bytesBody, "ab", ptr(bodyText("old")), refused},
		{bytesBody, "7", ptr(1), refused},
		{bytesBody, "", &[]byte{9}, []byte{}},
		{bytesBody, "", ptr("old"), ""},
		{bytesBody, "", ptr[any]("old"), []byte{}},
		{bytesBody, "", &bodyMessage{1}, refused},

		{textBody, "ab", &[]byte{9}, []byte("ab")},
		{textBody, "ab", ptr("old"), "ab"},
		{textBody, "ab", ptr[any]("old"), "ab"},
		{textBody, `{"ID":7}`, &bodyMessage{1}, refused},
		{textBody, "", &[]byte{9}, []byte{}},
		{textBody, "", ptr("old"), ""},
		{textBody, "", ptr[any]("old"), ""},
		{textBody, "", &bodyMessage{1}, refused},

		{plainBody, "ab", &[]byte{9}, []byte("ab")},
		{plainBody, "ab", ptr("old"), "ab"},
		{plainBody, `"ab"`, ptr("old"), `"ab"`},
		{plainBody, `"ab"`, ptr[any]("old"), "ab"},
		{plainBody, `{"ID":7}`, &bodyMessage{1}, bodyMessage{7}},
		{plainBody, "ab", ptr[any]("old"), refused},
		{plainBody, "", &[]byte{9}, []byte{}},
		{plainBody, "", ptr("old"), ""},
	} {
		for _, shared := range []bool{true, false} {
			target := reflect.New(reflect.TypeOf(c.target).Elem())
			target.Elem().Set(reflect.ValueOf(c.target).Elem())
			data := append(make([]byte, 0, 100), c.data...)
			name := fmt.Sprintf("%q of kind %d into %v, shared %v", c.data, c.kind, target.Type(), shared)
			err := body{data: data, kind: c.kind, ser: jsonser.Serializer, shared: shared}.decode(target.Interface())
			if c.want == refused {
				var e *Error
				if !errors.As(err, &e) || e.Code != BadRequest || e.Message == "" {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if shared {
				clear(data) // the next packet overwrites it
			}
			if got := target.Elem().Interface(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %#v, want %#v", name, got, c.want)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestBodyOwnership checks whose memory the raw bytes are, and that serializers keep none.
func TestBodyOwnership(t *testing.T) {
	data := []byte("bytes")
	for _, kind := range []bodyKind{bytesBody, textBody, plainBody} {
		var mine, copied []byte
		if err := (body{data: data, kind: kind}).decode(&mine); err != nil || &mine[0] != &data[0] {
			t.Errorf("kind %d: bytes that aren't shared were copied, error %v", kind, err)
		}
		if err := (body{data: data, kind: kind, shared: true}).decode(&copied); err != nil || &copied[0] == &data[0] {
			t.Errorf("kind %d: bytes that are shared weren't copied, error %v", kind, err)
		}
	}
	if b := (body{shared: true}).bytes(); b == nil || len(b) != 0 {
		t.Errorf("no shared bytes are %#v", b)
	}
	for _, ser := range []serializer.Serializer{jsonser.Serializer, msgpack.Serializer} {
		type message struct {
			Raw  []byte
			Text string
			Any  any
		}
		in := message{[]byte("raw"), "text", []any{"any", []any{"deep"}}}
		enc, _, err := encodeBody(nil, &in, ser, false)
		if err != nil {
			t.Fatal(err)
		}
		var out message
		if err := (body{data: enc, ser: ser, shared: true}).decode(&out); err != nil {
			t.Fatal(err)
		}
		clear(enc)
		if !reflect.DeepEqual(in, out) {
			t.Errorf("%s: %#v has changed with the bytes", ser.Name(), out)
		}
	}
}

// TestBodyErrors checks that errors say what came and what was wanted.
func TestBodyErrors(t *testing.T) {
	err := body{data: []byte("abc"), kind: textBody}.decode(new(bodyMessage))
	wantText(t, err.Error(), "BAD_REQUEST: raw text of 3 bytes", "flyrpc.bodyMessage")
	err = body{data: []byte("abc"), kind: bytesBody}.decode(new(int))
	wantText(t, err.Error(), "raw bytes of 3 bytes", " int ")
	err = body{data: []byte("abc"), ser: jsonser.Serializer}.decode(new(bodyMessage))
	wantText(t, err.Error(), "3 bytes of json are no flyrpc.bodyMessage")
	if errors.Unwrap(err) == nil {
		t.Error("the serializer's error isn't there")
	}
	for _, v := range []any{nil, (*bodyMessage)(nil), bodyMessage{}} {
		if err := (body{data: []byte("{}"), ser: jsonser.Serializer}).decode(v); !errors.Is(err, BadRequest) {
			t.Errorf("into %T: %v", v, err)
		}
	}
	if got := typeName(nil); got != "nil" {
		t.Errorf("the type of nil is %q", got)
	}
	if got := typeName(ptr(&bodyMessage{})); got != "*flyrpc.bodyMessage" {
		t.Errorf("the type of **bodyMessage is %q", got)
	}
}

func TestEncodeBody(t *testing.T) {
	for _, c := range []struct {
		name    string
		message any
		want    string // in version 2
		kind    bodyKind
		v1      string
	}{
		{"nil", nil, "", encodedBody, "null"},
		{"a nil pointer", (*bodyMessage)(nil), "", encodedBody, "null"},
		{"a nil pointer to a pointer", (**bodyMessage)(nil), "", encodedBody, "null"},
		{"a nil map", map[string]int(nil), "null", encodedBody, "null"},
		{"a nil slice of numbers", []int(nil), "null", encodedBody, "null"},
		{"nil bytes", []byte(nil), "", bytesBody, ""},
		{"no bytes", []byte{}, "", bytesBody, ""},
		{"bytes", []byte("a\x00b"), "a\x00b", bytesBody, "a\x00b"},
		{"no text", "", "", textBody, ""},
		{"text", "ab", "ab", textBody, "ab"},
		{"a pointer to text", ptr("ab"), `"ab"`, encodedBody, `"ab"`},
		{"a type of text", bodyText("ab"), `"ab"`, encodedBody, `"ab"`},
		{"a struct", bodyMessage{7}, `{"ID":7}`, encodedBody, `{"ID":7}`},
		{"a pointer", &bodyMessage{7}, `{"ID":7}`, encodedBody, `{"ID":7}`},
		{"a number", 7, "7", encodedBody, "7"},
		{"false", false, "false", encodedBody, "false"},
	} {
		for _, v1 := range []bool{false, true} {
			want := c.want
			if v1 {
				want = c.v1
			}
			got, kind, err := encodeBody([]byte("before"), c.message, jsonser.Serializer, v1)
			if err != nil || string(got) != "before"+want || kind != c.kind {
				t.Errorf("%s, version 1 %v: %q of kind %d, error %v; want %q of kind %d", c.name, v1, got, kind, err, want, c.kind)
			}
		}
	}
}

// TestEncodeBodyNoNull sends nil to a version 1 peer whose serializer has no null.
func TestEncodeBodyNoNull(t *testing.T) {
	ser := serializer.Adapt("none", func(any) ([]byte, error) { return nil, errors.New("no") }, json.Unmarshal)
	for _, message := range []any{nil, (*bodyMessage)(nil)} {
		if got, kind, err := encodeBody([]byte("before"), message, ser, true); err != nil || string(got) != "before" || kind != encodedBody {
			t.Errorf("%T: %q of kind %d, error %v", message, got, kind, err)
		}
	}
}

// TestEncodeBodyCopies checks that raw messages are copied: the caller may change them.
func TestEncodeBodyCopies(t *testing.T) {
	message := []byte("bytes")
	got, _, err := encodeBody(nil, message, nil, false)
	if err != nil || &got[0] == &message[0] {
		t.Errorf("the message itself is sent, error %v", err)
	}
	dst := make([]byte, 3, 100)
	if got, _, _ := encodeBody(dst, "text", nil, true); &got[0] != &dst[0] {
		t.Error("dst, which has room, isn't used")
	}
}

// TestEncodeBodyFails checks that dst comes back as it was.
func TestEncodeBodyFails(t *testing.T) {
	for _, v := range []any{make(chan int), math.NaN(), []any{1, func() {}}, panics{}} {
		for _, v1 := range []bool{false, true} {
			dst := append(make([]byte, 0, 100), "before"...)
			got, kind, err := encodeBody(dst, v, jsonser.Serializer, v1)
			if err == nil || !bytes.Equal(got, []byte("before")) || kind != encodedBody {
				t.Errorf("%T: %q of kind %d, error %v", v, got, kind, err)
				continue
			}
			wantText(t, err.Error(), fmt.Sprintf("json can't encode %T", v))
		}
	}
}

// panics is a message that can't be encoded.
type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }
