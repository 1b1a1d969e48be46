// Command server answers /user/get for the client beside it.
package main

import (
	"log"

	"github.com/go-flyrpc/flyrpc"
)

type User struct {
	ID   int
	Name string
}

func main() {
	srv := flyrpc.NewServer(nil)
	srv.OnMessage("/user/get", func(q *User) (*User, error) {
		if q.ID == 0 {
			return nil, flyrpc.Errorf(flyrpc.BadRequest, "id is required")
		}
		return &User{q.ID, "Ada"}, nil
	})
	log.Fatal(srv.Listen("localhost:7000"))
}
