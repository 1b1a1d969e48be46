package json_test

import (
	"fmt"

	"github.com/go-flyrpc/flyrpc/serializer/json"
)

func Example() {
	type user struct {
		ID   int    `json:"id"`
		Name string `json:"name,omitempty"`
	}
	data, err := json.Serializer.Encode([]byte("user: "), user{ID: 7, Name: "Ada"})
	fmt.Println(string(data), err)

	var u user
	err = json.Serializer.Decode(data[len("user: "):], &u)
	fmt.Println(u, err)

	fmt.Println(json.Serializer.Decode([]byte(`{"id":7]`), &u))
	// Output:
	// user: {"id":7,"name":"Ada"} <nil>
	// {7 Ada} <nil>
	// json: ']' at byte 7; expected ',' or '}'
}
