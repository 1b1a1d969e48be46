// Command client calls the server beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/go-flyrpc/flyrpc"
)

type User struct {
	ID   int
	Name string
}

func main() {
	ctx := context.Background()
	cli, err := flyrpc.Dial(ctx, "localhost:7000", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cli.Close()
	user, err := flyrpc.Call[User](ctx, cli, "/user/get", User{ID: 7})
	fmt.Println(user.Name, err)
	_, err = flyrpc.Call[User](ctx, cli, "/user/get", User{})
	fmt.Println(errors.Is(err, flyrpc.BadRequest), err)
}
