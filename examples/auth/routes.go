package main

import (
	"fmt"
	"log/slog"

	"github.com/go-flyrpc/flyrpc"
)

// routes registers everything. The middleware of a Router is inside that of the one it was made of: a call of
// /admin/stop goes through logged, require("admin") and the handler, and a refusal is logged.
func routes(r *flyrpc.Router, log *slog.Logger) {
	r.Use(logged(log))
	r.OnMessage("/whoami", func(ctx *flyrpc.Context) string { return caller(ctx).name })

	// With has the same paths, and more middleware.
	editors := r.With(require("editor"))
	editors.OnMessage("/article/{id}/edit", func(ctx *flyrpc.Context) string {
		return fmt.Sprintf("%s edits article %s", caller(ctx).name, ctx.Param("id"))
	})

	// Group puts a prefix before the paths as well.
	admin := r.Group("/admin", require("admin"))
	admin.OnMessage("/stop", func() string { return "stopped" })
}
