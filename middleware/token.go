package middleware

import (
	"context"
	"errors"

	"github.com/go-flyrpc/flyrpc"
)

// DefaultTokenKey is the key of metadata that Auth, Token and TokenFunc use if they are given none.
const DefaultTokenKey = "token"

// Token returns an Interceptor that puts a token into the metadata of each call and message under key, where Auth looks for it. An
// empty key means DefaultTokenKey. Who can read the connection can read the token: use TLS.
func Token(key, token string) flyrpc.Interceptor {
	return TokenFunc(key, func(context.Context) (string, error) { return token, nil })
}

// TokenFunc is Token with a token that source returns for each call; with an empty one the call goes without. source gets the context of the call and may be
// called concurrently. With its error the call fails, NotSent, with the error's code if it has one or else
// UNAUTHENTICATED. A source that calls by the same client calls itself. It panics if source is nil.
func TokenFunc(key string, source func(ctx context.Context) (string, error)) flyrpc.Interceptor {
	if source == nil {
		panic("middleware: TokenFunc: the source is nil")
	}
	key = orDefault(key, DefaultTokenKey)
	return func(next flyrpc.Invoker) flyrpc.Invoker {
		return func(ctx context.Context, call *flyrpc.Outgoing) error {
			token, err := source(ctx)
			if err != nil {
				return unauthenticated(err).WithDelivery(flyrpc.NotSent)
			}
			if token != "" {
				ctx = flyrpc.WithMeta(ctx, key, token)
			}
			return next(ctx, call)
		}
	}
}

// unauthenticated returns err with its own code, or with Unauthenticated if it has none. That a context has ended says
// nothing about credentials.
func unauthenticated(err error) *flyrpc.Error {
	var e *flyrpc.Error
	var code flyrpc.Code
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &code):
	case errors.Is(err, context.DeadlineExceeded):
		code = flyrpc.Timeout
	case errors.Is(err, context.Canceled):
		code = flyrpc.Canceled
	default:
		code = flyrpc.Unauthenticated
	}
	return flyrpc.Errorf(code, "%w", err)
}
