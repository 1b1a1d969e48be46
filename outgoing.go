package flyrpc

import (
	"context"
)

// outgoingValues is what a context says about the calls made with it.
type outgoingValues struct {
	meta       []byte
	err        error
	idempotent bool
	reply      *Metadata
	sticky     string
}

// withValues returns ctx with changed values.
func withValues(ctx context.Context, change func(*outgoingValues)) context.Context {
	var v outgoingValues
	if old, ok := ctx.Value(outgoingKey).(*outgoingValues); ok {
		v = *old
		v.meta = v.meta[:len(v.meta):len(v.meta)]
	}
	change(&v)
	return context.WithValue(ctx, outgoingKey, &v)
}

// WithMeta returns a context whose calls and messages carry a metadata entry, which
// the handler reads with Context.Meta. A version 1 peer doesn't get it. Calls fail
// with TooLong if their metadata exceeds 8 KiB or 64 entries, less what FlyRPC itself needs.
func WithMeta(ctx context.Context, key, value string) context.Context {
	return withValues(ctx, func(v *outgoingValues) {
		meta, err := addUserMeta(v.meta, key, value)
		if err != nil {
			v.err = err
			return
		}
		v.meta = meta
	})
}

// WithReplyMeta returns a context whose calls put the metadata of their response into
// meta, when they return. It is for one call at a time.
func WithReplyMeta(ctx context.Context, meta *Metadata) context.Context {
	return withValues(ctx, func(v *outgoingValues) { v.reply = meta })
}

// WithIdempotent returns a context whose calls may be repeated when it is unknown
// whether they were executed.
func WithIdempotent(ctx context.Context) context.Context {
	return withValues(ctx, func(v *outgoingValues) { v.idempotent = true })
}

// WithStickyKey returns a context whose calls and messages go to the same connection as others with the same key, as long as that
// is there, if the client has several and Balance.Strategy is Sticky.
func WithStickyKey(ctx context.Context, key string) context.Context {
	return withValues(ctx, func(v *outgoingValues) { v.sticky = key })
}

// stickyKey returns what WithStickyKey has set.
func stickyKey(ctx context.Context) string {
	if v, ok := ctx.Value(outgoingKey).(*outgoingValues); ok {
		return v.sticky
	}
	return ""
}
