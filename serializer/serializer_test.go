package serializer_test

import (
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
)

var texts = serializer.Adapt("hex",
	func(v any) ([]byte, error) {
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("not a string")
		}
		if s == "panic" {
			panic("at the disco")
		}
		return []byte(hex.EncodeToString([]byte(s))), nil
	},
	func(data []byte, v any) error {
		if string(data) == "panic" {
			panic("at the disco")
		}
		b, err := hex.DecodeString(string(data))
		if err == nil {
			*v.(*string) = string(b)
		}
		return err
	})

func TestAdapt(t *testing.T) {
	if texts.Name() != "hex" {
		t.Errorf("name %q", texts.Name())
	}
	out, err := texts.Encode([]byte("x"), "ab")
	if err != nil || string(out) != "x6162" {
		t.Fatalf("%q, %v", out, err)
	}
	var s string
	if err := texts.Decode(out[1:], &s); err != nil || s != "ab" {
		t.Errorf("%q, %v", s, err)
	}
}

func TestAdaptErrors(t *testing.T) {
	var s string
	var missing *string
	for want, err := range map[string]error{
		"hex: cannot decode into *string: encoding/hex":     texts.Decode([]byte("zz"), &s),
		"hex: decoding into *string panicked: at the disco": texts.Decode([]byte("panic"), &s),
		"hex: there is no data":                             texts.Decode(nil, &s),
		"hex: cannot decode into nil":                       texts.Decode([]byte("61"), nil),
		"hex: cannot decode into a string":                  texts.Decode([]byte("61"), s),
		"hex: cannot decode into a nil *string":             texts.Decode([]byte("61"), missing),
		"hex: cannot encode int: not a string":              encodeError(t, 5),
		"hex: encoding string panicked: at the disco":       encodeError(t, "panic"),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := texts.Decode(nil, &s); !errors.Is(err, serializer.ErrEmpty) {
		t.Errorf("%v is not ErrEmpty", err)
	}
}

func encodeError(t *testing.T, v any) error {
	t.Helper()
	out, err := texts.Encode([]byte("before"), v)
	if string(out) != "before" {
		t.Errorf("a failed Encode returned %q", out)
	}
	return err
}

func TestAdaptRefusesHalf(t *testing.T) {
	encode := func(any) ([]byte, error) { return nil, io.EOF }
	decode := func([]byte, any) error { return io.EOF }
	for _, adapt := range []func(){
		func() { serializer.Adapt("", encode, decode) },
		func() { serializer.Adapt("x", nil, decode) },
		func() { serializer.Adapt("x", encode, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("Adapt took it")
				}
			}()
			adapt()
		}()
	}
}

func TestLimits(t *testing.T) {
	got := serializer.Limits{}.WithDefaults()
	if want := (serializer.Limits{Depth: serializer.DefaultDepth, Memory: serializer.DefaultMemory}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	got = serializer.Limits{Depth: 1 << 30, Memory: -1}.WithDefaults()
	if got.Depth != serializer.MaxDepth || got.Memory != serializer.DefaultMemory {
		t.Errorf("%+v", got)
	}
	if got.Budget(100) != serializer.DefaultMemory+100 {
		t.Errorf("budget %d", got.Budget(100))
	}
}

func TestLimitError(t *testing.T) {
	for limit, want := range map[string]string{
		serializer.LimitDepth:  "json: nested deeper than 7 levels",
		serializer.LimitMemory: "json: decoding would take more than 7 bytes",
		"the length":           "json: the length is over 7",
	} {
		err := &serializer.LimitError{Serializer: "json", Limit: limit, Max: 7}
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
