package msgpack_test

import (
	"fmt"

	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

func Example() {
	type user struct {
		ID   int    `json:"id"`
		Name string `json:"name,omitempty"`
	}
	data, err := msgpack.Serializer.Encode(nil, user{ID: 7, Name: "Ada"})
	fmt.Printf("%x %v\n", data, err)

	var u user
	err = msgpack.Serializer.Decode(data, &u)
	fmt.Println(u, err)

	fmt.Println(msgpack.Serializer.Decode([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}, new([]int64)))
	// Output:
	// 82a2696407a46e616d65a3416461 <nil>
	// {7 Ada} <nil>
	// msgpack: 4294967295 more values are declared in 0 bytes
}
