package flyrpc

import "context"

// Caller is what Client and Conn have in common, for code that works with either.
type Caller interface {
	// Call calls path with message and decodes the answer into reply.
	Call(ctx context.Context, path string, message, reply any) error
	// SendMessage sends a one-way message to path.
	SendMessage(ctx context.Context, path string, message any) error
}

// Call calls path with message and returns the answer, decoded as a Reply. With an
// error, which is an Error, the Reply is its zero value.
func Call[Reply any](ctx context.Context, c Caller, path string, message any) (Reply, error) {
	reply := new(Reply)
	if err := c.Call(ctx, path, message, reply); err != nil {
		var zero Reply
		return zero, err
	}
	return *reply, nil
}
