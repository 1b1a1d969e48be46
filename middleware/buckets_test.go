package middleware

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestBucketsBound: there are never more buckets than the limit, those that aren't full stay, and new keys share one meanwhile.
func TestBucketsBound(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := newBuckets(1, 2, 3)
	allow := func(key any) bool { return b.allow(key, now) }
	count := func(key any) (n int) {
		for n < 9 && allow(key) {
			n++
		}
		return n
	}
	for _, key := range []string{"a", "b", "c"} {
		if n := count(key); n != 2 {
			t.Fatalf("the bucket of %s is one of %d, want 2", key, n)
		}
	}
	if !allow("d") || !allow("e") || allow("f") || allow("d") {
		t.Error("keys without room don't share one bucket of 2")
	}
	for _, key := range []string{"a", "b", "c"} {
		if allow(key) {
			t.Errorf("the bucket of %s was dropped and came back full", key)
		}
	}
	now = now.Add(time.Second)
	if count("d") != 1 || count("e") != 0 || count("a") != 1 || len(b.byKey) != 3 { // b and c are half full
		t.Error("a bucket that wasn't full made room")
	}
	now = now.Add(time.Second)
	if count("d") != 2 || len(b.byKey) != 2 || b.rest.TokensAt(now) != 1 { // b is full again, and so is c
		t.Error("a bucket that is full made no room")
	}
	now = now.Add(time.Hour)
	allow("x")
	allow("y")
	if n := b.used.Len(); n != 2 || len(b.byKey) != 2 {
		t.Errorf("%d buckets are left, %d by key; want x and y", n, len(b.byKey))
	}
}

// TestBucketsAbuse: with any number of keys nobody passes more calls than the description says.
func TestBucketsAbuse(t *testing.T) {
	const most, rate, burst, seconds = 10, 5, 4, 60
	now := time.Unix(1_000_000, 0)
	b := newBuckets(rate, burst, most)
	r := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range seconds * 1000 {
		now = now.Add(time.Millisecond)
		if b.allow(r.IntN(1_000_000), now) {
			passed++
		}
		if len(b.byKey) > most || b.used.Len() != len(b.byKey) {
			t.Fatalf("%d buckets, %d by key; at most %d", b.used.Len(), len(b.byKey), most)
		}
	}
	if bound := (most + 1) * (rate*seconds + burst); passed > bound {
		t.Errorf("%d passed, at most %d may", passed, bound)
	}
}

// TestBucketsLate: calls that come to the lock in another order than they asked for the time get no tokens for the same time twice.
func TestBucketsLate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b, n := newBuckets(1, 10, 3), 0
	for i := range 100 {
		if b.allow("key", now.Add(time.Duration((i+1)%2)*time.Second)) {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d calls passed within a second, want 10", n)
	}
}
