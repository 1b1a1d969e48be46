package protobuf_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// option is the message among the library's own that comes closest to an int64, a
// text and bytes.
var option = &descriptorpb.UninterpretedOption{
	NegativeIntValue: proto.Int64(1234567), IdentifierValue: proto.String("benchmark"),
	StringValue: []byte("0123456789abcdef0123456789"),
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 256)
	for b.Loop() {
		if _, err := protobuf.Serializer.Encode(buf, option); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeFlat(b *testing.B) {
	b.ReportAllocs()
	data, _ := protobuf.Serializer.Encode(nil, &anypb.Any{TypeUrl: "benchmark", Value: []byte("0123456789abcdef0123456789")})
	b.SetBytes(int64(len(data)))
	m := new(anypb.Any)
	for b.Loop() {
		if err := protobuf.Serializer.Decode(data, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	data, _ := protobuf.Serializer.Encode(nil, option)
	b.SetBytes(int64(len(data)))
	m := new(descriptorpb.UninterpretedOption)
	for b.Loop() {
		if err := protobuf.Serializer.Decode(data, m); err != nil {
			b.Fatal(err)
		}
	}
}
