package flyrpc_test

import (
	"fmt"

	"github.com/go-flyrpc/flyrpc"
)

type getUser struct{ ID int }

type foundUser struct {
	ID   int
	Name string
}

func printRoutes(r *flyrpc.Router) {
	for _, info := range r.Routes() {
		fmt.Println(info.Path, info.Type, info.Options)
	}
}

func ExampleRouter_OnMessage() {
	r := flyrpc.NewRouter()
	r.OnMessage("hello", func(name string) (string, error) { return "Hello, " + name, nil })
	r.OnMessage("/user/{id}", func(ctx *flyrpc.Context) (*foundUser, error) {
		return &foundUser{Name: ctx.Param("id")}, nil
	}, flyrpc.Idempotent)
	r.OnMessage("/log", func(line string) { fmt.Println(line) }, flyrpc.Ordered, flyrpc.NoCompress)
	printRoutes(r)
	// Output:
	// /log func(string) Ordered|NoCompress
	// /user/{id} func(*flyrpc.Context) (*flyrpc_test.foundUser, error) Idempotent
	// hello func(string) (string, error) 0
}

func ExampleRouter_Group() {
	onlyStaff := func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			if ctx.Meta().Get("role") != "staff" {
				return nil, flyrpc.Forbidden
			}
			return next(ctx)
		}
	}
	r := flyrpc.NewRouter()
	admin := r.Group("/admin", onlyStaff)
	admin.OnMessage("/stop", func() error { return nil })
	admin.Group("/user").OnMessage("/{id}/delete", func(ctx *flyrpc.Context) error { return nil })
	printRoutes(r)
	// Output:
	// /admin/stop func() error 0
	// /admin/user/{id}/delete func(*flyrpc.Context) error 0
}

func ExampleHandle() {
	r := flyrpc.NewRouter()
	flyrpc.Handle(r, "/user/get", func(ctx *flyrpc.Context, q *getUser) (*foundUser, error) {
		if q.ID == 0 {
			return nil, flyrpc.Errorf(flyrpc.BadRequest, "id is required")
		}
		return &foundUser{q.ID, "Ada"}, nil
	})
	printRoutes(r)
	// Output:
	// /user/get func(*flyrpc.Context, *flyrpc_test.getUser) (*flyrpc_test.foundUser, error) 0
}

type adder struct{}

func (adder) Add(_ *flyrpc.Context, terms []int) int {
	sum := 0
	for _, t := range terms {
		sum += t
	}
	return sum
}

func (adder) String() string { return "left out, for it takes no context" }

func ExampleRouter_Register() {
	r := flyrpc.NewRouter()
	fmt.Println(r.Register("/calc", adder{}))
	// Output: [/calc/Add]
}
