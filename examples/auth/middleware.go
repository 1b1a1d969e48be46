package main

import (
	"log/slog"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// guard logs every call, those that are refused too, and says who may call what. The most specific rule
// counts, and a path without one is closed.
func guard(log *slog.Logger) (flyrpc.Middleware, error) {
	auth, err := middleware.Auth(middleware.AuthOptions{
		Rules: []middleware.Rule{
			middleware.Authenticated("/whoami"),
			middleware.Roles("/article/...", "editor"),
			middleware.Roles("/admin/...", "admin"),
		},
		Identity: principal,
	})
	if err != nil {
		return nil, err
	}
	return middleware.Chain(middleware.Logger(&middleware.LoggerOptions{Logger: log}), auth), nil
}

// authors is a middleware of the program's own, for what no role tells: it lets through who has written
// the article that the path names.
func authors(of map[string]string) flyrpc.Middleware {
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			if id := ctx.Param("id"); of[id] != middleware.PrincipalOf(ctx).Name {
				// Refuse tells the caller that the handler never started.
				return nil, ctx.Refuse(flyrpc.Errorf(flyrpc.Forbidden, "article %s is by %s", id, of[id]))
			}
			return next(ctx)
		}
	}
}
