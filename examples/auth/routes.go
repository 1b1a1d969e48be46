package main

import (
	"fmt"
	"log/slog"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// routes registers everything. The middleware of a Router is inside that of the one it was made of: a call of
// /article/7/edit goes through Logger, Auth, authors and the handler.
func routes(r *flyrpc.Router, log *slog.Logger) error {
	g, err := guard(log)
	if err != nil {
		return err
	}
	r.Use(g)
	r.OnMessage("/whoami", func(ctx *flyrpc.Context) string { return middleware.PrincipalOf(ctx).Name })
	r.OnMessage("/admin/stop", func() string { return "stopped" })
	r.OnMessage("/forgotten", func() string { return "no rule names this path: nobody gets here" })

	// Group puts a prefix before the paths and adds middleware; With adds middleware alone.
	own := r.Group("/article/{id}", authors(map[string]string{"7": "Ada", "8": "Bob"}))
	own.OnMessage("/edit", func(ctx *flyrpc.Context) string {
		return fmt.Sprintf("%s edits article %s", middleware.PrincipalOf(ctx).Name, ctx.Param("id"))
	})
	return nil
}
