package middleware

import (
	"container/list"
	"fmt"
	"hash/maphash"
	"math"
	"reflect"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-flyrpc/flyrpc"
)

// DefaultMaxKeys is how many keys RateLimit keeps if it isn't told.
const DefaultMaxKeys = 10_000

// RateLimitOptions are the options of RateLimit. nil and the zero value mean the defaults.
type RateLimitOptions struct {
	// Key says what a call counts against: calls with equal keys share one limit. The key must be comparable, as a
	// map's is; nil is a key too. It may be called concurrently. Default: ByConn.
	Key func(ctx *flyrpc.Context) any
	// MaxKeys is how many keys are kept, at about 250 bytes each. Default: DefaultMaxKeys.
	MaxKeys int
}

// RateLimit returns a Middleware that lets through perSecond calls a second for each key, and burst at once after a pause. It refuses the
// others with BUSY before their messages are decoded, as not processed. A stream counts once, a one-way message that is
// refused is dropped. RateLimit panics unless perSecond is positive and finite and burst is at least 1.
//
// Of each key a bucket of tokens is kept. One that is full again, which it is burst/perSecond seconds after its last call at
// the latest, is like a new one and makes room for others. No other is ever dropped, so nobody gets a full bucket by
// having many keys. Keys for which there is no room share one bucket until there is: with many keys an attacker can be a
// nuisance to those whose key is new, but passes perSecond * (MaxKeys + 1) calls a second at the most.
func RateLimit(perSecond float64, burst int, opts *RateLimitOptions) flyrpc.Middleware {
	if !(perSecond > 0) || math.IsInf(perSecond, 1) || burst < 1 {
		panic(fmt.Sprintf("middleware: RateLimit: %v calls a second and %d at once: it takes a positive number and at least 1", perSecond, burst))
	}
	var o RateLimitOptions
	if opts != nil {
		o = *opts
	}
	if o.Key == nil {
		o.Key = ByConn
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = DefaultMaxKeys
	}
	b := newBuckets(rate.Limit(perSecond), burst, o.MaxKeys)
	busy := flyrpc.Errorf(flyrpc.Busy, "more than %v calls a second: wait before the next", perSecond) // Refuse copies it
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			key := o.Key(ctx)
			if !isComparable(key) {
				return nil, ctx.Refuse(flyrpc.Errorf(flyrpc.Internal, "the rate limit's key is a %T, which can't be compared", key))
			}
			if !b.allow(key, time.Now()) {
				return nil, ctx.Refuse(busy)
			}
			return next(ctx)
		}
	}
}

// ByConn has each connection count for itself. Whoever opens another one has a new bucket: it is for clients that are
// trusted not to, or where their number is bounded.
func ByConn(ctx *flyrpc.Context) any { return ctx.Conn().ID() }

// ByIdentity has all connections and calls of one identity count together: the name of the Principal, if Auth is
// outside of RateLimit and found one, or else the connection's Identity, which must be comparable. All those without
// one count together too.
func ByIdentity(ctx *flyrpc.Context) any {
	if p := PrincipalOf(ctx); p != nil {
		return principalName(p.Name)
	}
	return ctx.Conn().Identity()
}

// principalName is a Principal's name as a key, which no connection's identity equals.
type principalName string

// buckets keeps the buckets of keys.
type buckets struct {
	limit rate.Limit
	burst int
	most  int
	seed  maphash.Seed
	rest  *rate.Limiter // of the keys for which there is no room

	mu    sync.Mutex
	last  time.Time // the latest of the times of calls
	byKey map[uint64]*list.Element
	used  list.List // of *bucket, the last used first
}

// bucket is that of one key, of which only the hash is kept: keys may be large, or hold on to something large.
type bucket struct {
	hash  uint64
	limit *rate.Limiter
}

func newBuckets(limit rate.Limit, burst, most int) *buckets {
	return &buckets{
		limit: limit, burst: burst, most: most, seed: maphash.MakeSeed(),
		rest: rate.NewLimiter(limit, burst), byKey: make(map[uint64]*list.Element),
	}
}

// noKey is the key that nil stands for.
type noKey struct{}

// isComparable reports whether a key can be compared. What ByConn and ByIdentity return needs no memory for that.
func isComparable(key any) bool {
	switch key.(type) {
	case nil, uint64, string, principalName:
		return true
	}
	return reflect.ValueOf(key).Comparable()
}

// typedKey is a key with its type, which a hash of the key alone leaves out.
type typedKey struct {
	of  reflect.Type
	key any
}

// allow reports whether a call with a key, which is comparable, may pass, and takes a token for it then.
func (b *buckets) allow(key any, now time.Time) bool {
	if key == nil {
		key = noKey{}
	}
	hash := maphash.Comparable(b.seed, typedKey{reflect.TypeOf(key), key})
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.last) { // it waited for the lock; a limiter whose time goes back gives tokens for that time twice
		now = b.last
	}
	b.last = now
	return b.of(hash, now).AllowN(now, 1)
}

// of returns the limiter of a key by its hash. It is called with the lock held, as a new one is full and would be dropped.
func (b *buckets) of(hash uint64, now time.Time) *rate.Limiter {
	if e := b.byKey[hash]; e != nil {
		b.used.MoveToFront(e)
		return e.Value.(*bucket).limit
	}
	for range 2 { // more than are added, so that a crowd is forgotten
		b.dropOldest(now)
	}
	if b.used.Len() >= b.most {
		return b.rest
	}
	l := rate.NewLimiter(b.limit, b.burst)
	b.byKey[hash] = b.used.PushFront(&bucket{hash, l})
	return l
}

// dropOldest drops the bucket that was not used for the longest, if it is full.
func (b *buckets) dropOldest(now time.Time) {
	e := b.used.Back()
	if e == nil {
		return
	}
	if old := e.Value.(*bucket); old.limit.TokensAt(now) >= float64(b.burst) {
		b.used.Remove(e)
		delete(b.byKey, old.hash)
	}
}
