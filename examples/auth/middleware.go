package main

import (
	"errors"
	"log/slog"

	"github.com/go-flyrpc/flyrpc"
)

// logged says who has called what, and how it ended.
func logged(log *slog.Logger) flyrpc.Middleware {
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			message, err := next(ctx)
			log.Info("call", "path", ctx.Path(), "by", caller(ctx).name, "result", result(err))
			return message, err
		}
	}
}

// result names the code that an error goes out with.
func result(err error) string {
	var e *flyrpc.Error
	var c flyrpc.Code
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return string(e.Code)
	case errors.As(err, &c):
		return string(c)
	}
	return string(flyrpc.Failed)
}

// require lets callers with a role through.
func require(role string) flyrpc.Middleware {
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			if !caller(ctx).is(role) {
				return nil, flyrpc.Errorf(flyrpc.Forbidden, "that is for those who are %s", role)
			}
			return next(ctx)
		}
	}
}
