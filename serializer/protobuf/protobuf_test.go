package protobuf_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/apipb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
	"github.com/go-flyrpc/flyrpc/serializer/serializertest"
)

// sample is a message, decoded into a message.
func sample[T any, P interface {
	*T
	proto.Message
}](m P) serializertest.Sample {
	return serializertest.Sample{
		Value: m,
		New:   func() any { return P(new(T)) },
		Equal: func(v any) bool { return proto.Equal(v.(P), m) },
	}
}

// pointed is the same message, encoded and decoded through a pointer to the pointer.
func pointed[T any, P interface {
	*T
	proto.Message
}](m P) serializertest.Sample {
	return serializertest.Sample{
		Value: &m,
		New:   func() any { return new(P) },
		Equal: func(v any) bool { return proto.Equal(*v.(*P), m) },
	}
}

func tree() *structpb.Value {
	v, err := structpb.NewValue(map[string]any{
		"list": []any{1, "two", nil, true, []any{}}, "map": map[string]any{"x": map[string]any{}, "y": 1.5},
	})
	if err != nil {
		panic(err)
	}
	return v
}

func location() *descriptorpb.SourceCodeInfo_Location {
	return &descriptorpb.SourceCodeInfo_Location{
		Path: []int32{1, 2, 300}, Span: []int32{7}, LeadingComments: proto.String("a comment"), LeadingDetachedComments: []string{"x", ""},
	}
}

func TestConformance(t *testing.T) {
	serializertest.Test(t, protobuf.Serializer, serializertest.WithSamples(
		sample(tree()), pointed(tree()), sample(timestamppb.Now()), sample(location()),
		sample(wrapperspb.Bytes([]byte("bytes of some length"))), sample(wrapperspb.Bool(true)),
		sample(&fieldmaskpb.FieldMask{Paths: []string{"a.b", "c"}}), pointed(durationpb.New(5)),
		sample(&apipb.Api{Name: "api", Methods: []*apipb.Method{{Name: "m"}, {}}}),
		sample(&descriptorpb.FileOptions{UninterpretedOption: []*descriptorpb.UninterpretedOption{{DoubleValue: proto.Float64(1)}}}),
	))
}

func TestNotMessages(t *testing.T) {
	var missing *timestamppb.Timestamp
	var n int
	pointer := &n
	for _, v := range []any{nil, 5, "x", struct{}{}, &n, &pointer, missing, &missing} {
		out, err := protobuf.Serializer.Encode([]byte("before"), v)
		if err == nil || string(out) != "before" || !strings.HasPrefix(err.Error(), "protobuf: ") {
			t.Errorf("Encode(%T): %q, %v", v, out, err)
		}
	}
	for _, v := range []any{nil, 5, &n, &pointer, missing, new(any), new(proto.Message)} {
		if err := protobuf.Serializer.Decode(nil, v); err == nil || !strings.HasPrefix(err.Error(), "protobuf: ") {
			t.Errorf("Decode(%T): %v", v, err)
		}
	}
	_, err := protobuf.Serializer.Encode(nil, n)
	if want := "protobuf: int is not a proto.Message; pass a pointer to a type made by protoc-gen-go"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestPointerToPointer(t *testing.T) {
	data, err := protobuf.Serializer.Encode(nil, wrapperspb.String("new"))
	if err != nil {
		t.Fatal(err)
	}
	kept := wrapperspb.String("old")
	slot := kept
	if err := protobuf.Serializer.Decode(data, &slot); err != nil || slot != kept || kept.Value != "new" {
		t.Errorf("%v, %v", slot, err)
	}
	slot = nil
	if err := protobuf.Serializer.Decode([]byte{0xff}, &slot); err == nil || slot != nil {
		t.Errorf("after an error: %v, %v", slot, err)
	}
	if err := protobuf.Serializer.Decode(nil, &slot); err != nil || slot == nil {
		t.Errorf("empty data: %v, %v", slot, err)
	}
}

func TestErrors(t *testing.T) {
	for data, want := range map[string]string{
		"\x80":             "protobuf: the data has a bad field tag",
		"\x0a\x05ab":       "protobuf: the data has a length beyond the end",
		"\x09ab":           "protobuf: the data has a bad value",
		"\x0b":             "protobuf: the data has a group that does not end",
		"\x0c":             "protobuf: the data has the end of a group that did not begin",
		"\x0b\x14":         "protobuf: the data has the end of a group that did not begin",
		"\x1a\x01\xff":     "protobuf: cannot decode into *structpb.Value: ",
		"\x32\x02\x0b\x0c": "",
	} {
		err := protobuf.Serializer.Decode([]byte(data), new(structpb.Value))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%x: %v, want %q", data, err, want)
		}
	}
	if out, err := protobuf.Serializer.Encode([]byte("before"), wrapperspb.String("\xff")); err == nil || string(out) != "before" {
		t.Errorf("text that is not UTF-8: %q, %v", out, err)
	}
}

type panicker struct{ proto.Message }

func TestPanics(t *testing.T) {
	if out, err := protobuf.Serializer.Encode([]byte("x"), &panicker{}); err == nil || string(out) != "x" {
		t.Errorf("%q, %v", out, err)
	}
	if err := protobuf.Serializer.Decode(nil, &panicker{}); err == nil {
		t.Error("no error")
	}
}

func nested(depth int) []byte {
	var data []byte
	for range depth - 1 {
		data = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType),
			protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), data))
	}
	return data
}

func TestLimits(t *testing.T) {
	var limit *serializer.LimitError
	if err := protobuf.Serializer.Decode(nested(64), new(structpb.Value)); err != nil {
		t.Errorf("127 levels: %v", err)
	}
	if err := protobuf.Serializer.Decode(nested(66), new(structpb.Value)); !errors.As(err, &limit) || limit.Limit != serializer.LimitDepth {
		t.Errorf("131 levels: %v", err)
	}
	if err := protobuf.New(serializer.Limits{Depth: 1000}).Decode(nested(500), new(structpb.Value)); err != nil {
		t.Errorf("999 levels where they are allowed: %v", err)
	}
	dense := bytes.Repeat([]byte{0x0a, 0}, 1<<20)
	if err := protobuf.Serializer.Decode(dense, new(structpb.ListValue)); !errors.As(err, &limit) || limit.Limit != serializer.LimitMemory {
		t.Errorf("a million values: %v", err)
	}
	if err := protobuf.New(serializer.Limits{Memory: 1 << 30}).Decode(dense, new(structpb.ListValue)); err != nil {
		t.Errorf("a million values where they are allowed: %v", err)
	}
	groups := append(bytes.Repeat([]byte{0xfb, 0x3f}, 200), 1)
	if err := protobuf.Serializer.Decode(groups, new(structpb.Value)); !errors.As(err, &limit) {
		t.Errorf("200 unknown groups: %v", err)
	}
}

func TestUnknownFieldsAreDropped(t *testing.T) {
	m := new(wrapperspb.StringValue)
	if err := protobuf.Serializer.Decode([]byte("\x0a\x01x\xf8\x3f\x01"), m); err != nil || m.Value != "x" || len(m.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%v, %v", m, err)
	}
}

// TestUsable holds that ordinary large messages are within the limits.
func TestUsable(t *testing.T) {
	list := &structpb.ListValue{}
	for i := range 30_000 {
		list.Values = append(list.Values, structpb.NewNumberValue(math.Sqrt(float64(i))))
	}
	path := make([]int32, 1<<20)
	for i := range path {
		path[i] = int32(i)
	}
	for _, m := range []proto.Message{list, wrapperspb.Bytes(make([]byte, 4<<20)), &descriptorpb.SourceCodeInfo_Location{Path: path, Span: path[:9]}} {
		data, err := protobuf.Serializer.Encode(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		got := m.ProtoReflect().New().Interface()
		if err := protobuf.Serializer.Decode(data, got); err != nil || !proto.Equal(got, m) {
			t.Errorf("%T in %d bytes: %v", m, len(data), err)
		}
	}
}

// FuzzDecode decodes anything into several messages; what is accepted must be
// accepted by the library alone too, and be the same.
func FuzzDecode(f *testing.F) {
	for _, m := range []proto.Message{tree(), location(), timestamppb.Now()} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x0b\x08\x01\x0c"))
	f.Add([]byte("\xc2\x3e\x00\x0a\x02\x01\x01\x08\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []proto.Message{
			new(structpb.Value), new(structpb.Struct), new(apipb.Api), location(), new(descriptorpb.FileDescriptorProto), new(timestamppb.Timestamp),
		} {
			err := protobuf.Serializer.Decode(data, m)
			want := m.ProtoReflect().New().Interface()
			libErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, want)
			var limit *serializer.LimitError
			if errors.As(err, &limit) {
				continue
			}
			if (err == nil) != (libErr == nil) {
				t.Fatalf("%x into %T: %v, the library says %v", data, m, err, libErr)
			}
			if a, b := text(m), text(want); err == nil && !bytes.Equal(a, b) {
				t.Fatalf("%x into %T: %x, the library gives %x", data, m, a, b)
			}
		}
	})
}

// text is a form in which not-a-number equals itself.
func text(m proto.Message) []byte {
	b, _ := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m)
	return b
}
