package serializer_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

type user struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// The same types, with the same tags, go through any serializer.
func Example() {
	for _, s := range []serializer.Serializer{json.Serializer, msgpack.Serializer} {
		data, err := s.Encode(nil, user{7, "Ada"})
		if err != nil {
			fmt.Println(err)
			return
		}
		var u user
		err = s.Decode(data, &u)
		fmt.Println(s.Name(), len(data), u, err)
	}
	// Output:
	// json 21 {7 Ada} <nil>
	// msgpack 14 {7 Ada} <nil>
}

// A pair of functions, here encoding/gob's, becomes a serializer.
func ExampleAdapt() {
	s := serializer.Adapt("gob",
		func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
		func(data []byte, v any) error {
			return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
		})
	data, _ := s.Encode(nil, user{7, "Ada"})
	var u user
	err := s.Decode(data, &u)
	fmt.Println(u, err)
	// Output: {7 Ada} <nil>
}

// Programs that exchange very large messages can allow more.
func ExampleLimits() {
	strict := msgpack.New(serializer.Limits{Depth: 2})
	data, _ := strict.Encode(nil, [][][]int{{{1}}})
	var v [][][]int
	err := strict.Decode(data, &v)
	var limit *serializer.LimitError
	fmt.Println(errors.As(err, &limit), err)
	// Output: true msgpack: nested deeper than 2 levels; send flatter data or raise Limits.Depth
}
