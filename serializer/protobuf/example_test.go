package protobuf_test

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

func Example() {
	data, err := protobuf.Serializer.Encode(nil, &durationpb.Duration{Seconds: 90})
	fmt.Printf("%x %v\n", data, err)

	var d durationpb.Duration
	err = protobuf.Serializer.Decode(data, &d)
	fmt.Println(d.AsDuration(), err)

	_, err = protobuf.Serializer.Encode(nil, 90)
	fmt.Println(err)
	// Output:
	// 085a <nil>
	// 1m30s <nil>
	// protobuf: int is not a proto.Message; pass a pointer to a type made by protoc-gen-go, or use another serializer
}
