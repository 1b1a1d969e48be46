package natsbus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-flyrpc/flyrpc/service"
)

// streamPrefix begins the names of streams that a Bus has made.
const streamPrefix = "fly_"

// maxStreamName is how many bytes of a subject the name of its stream has.
const maxStreamName = 64

// madeByKey is where a stream's metadata says that a Bus has made it, for one subject.
const (
	madeByKey = "made-by"
	madeBy    = "flyrpc"
)

// store returns the stream that keeps a subject, which may have wildcards, and makes one if there is none, that keeps messages no longer than
// maxAge unless that is 0.
func (b *Bus) store(ctx context.Context, subject string, maxAge time.Duration) (jetstream.Stream, error) {
	stream, err := b.findStore(ctx, subject)
	if !errors.Is(err, service.ErrNoStore) {
		return stream, err
	}
	stream, err = b.js.CreateStream(ctx, b.opts.Store.stream(subject, maxAge))
	if err == nil {
		return stream, nil
	}
	if found, lost := b.findStore(ctx, subject); lost == nil { // somebody else has made it meanwhile
		return found, nil
	}
	return nil, fmt.Errorf("natsbus: a store for %q: %w", subject, err)
}

// stream returns the configuration of a stream for one subject. It keeps everything at first: what is published before its first consumer
// exists has to wait for it. settle changes that.
func (o *StoreOpts) stream(subject string, maxAge time.Duration) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name:        streamName(subject),
		Description: "durable messages of FlyRPC services",
		Metadata:    map[string]string{madeByKey: madeBy},
		Subjects:    []string{subject},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    o.MaxBytes,
		Replicas:    o.Replicas,
		Duplicates:  o.Duplicates,
	}
	if maxAge > 0 {
		config.MaxAge = max(maxAge, o.Duplicates) // JetStream refuses less
	}
	if o.Memory {
		config.Storage = jetstream.MemoryStorage
	}
	return config
}

// settle has a stream, now that it has a consumer of all its subjects, keep messages only until all its consumers have settled them.
func (b *Bus) settle(ctx context.Context, stream jetstream.Stream, subject string) error {
	config := stream.CachedInfo().Config
	if config.Metadata[madeByKey] != madeBy || config.Retention == jetstream.InterestPolicy || !covers(subject, config.Subjects[0]) {
		return nil
	}
	config.Retention = jetstream.InterestPolicy
	_, err := b.js.UpdateStream(ctx, config)
	return err
}

// errNoJetStream is what durable messages fail with on servers that keep nothing.
var errNoJetStream = errors.New("natsbus: the broker has no JetStream, which durable messages need: nats-server has it with -js, and an embedded one with EmbeddedOpts.JetStream")

// findStore returns the stream that keeps a subject. The error matches ErrNoStore if none does, which only a majority of the
// servers knows.
func (b *Bus) findStore(ctx context.Context, subject string) (jetstream.Stream, error) {
	name, err := b.js.StreamNameBySubject(ctx, subject)
	var stream jetstream.Stream
	if err == nil {
		stream, err = b.js.Stream(ctx, name)
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w: %q", service.ErrNoStore, subject)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return nil, errNoJetStream
	case errors.Is(err, nats.ErrConnectionClosed):
		return nil, known(err)
	case err != nil:
		return nil, fmt.Errorf("natsbus: the store of %q: %w", subject, err)
	}
	subjects := stream.CachedInfo().Config.Subjects
	for _, pattern := range subjects {
		if covers(pattern, subject) {
			return stream, nil
		}
	}
	return nil, fmt.Errorf("natsbus: %q can't have a store: it overlaps with %s of the stream %s, and only one stream may keep a subject",
		subject, strings.Join(subjects, ", "), name)
}

// streamName returns the name of a subject's stream, which people can read and which no other subject has.
func streamName(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	text := plainName(strings.NewReplacer("*", "any", ">", "all").Replace(subject))
	if len(text) > maxStreamName {
		text = text[:maxStreamName]
	}
	return streamPrefix + text + "_" + hex.EncodeToString(sum[:4])
}

// plainName replaces all but letters, digits, - and _.
func plainName(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, text)
}

// covers reports whether all that pattern stands for, other may stand for too: whether a pattern has each subject that another one has.
func covers(pattern, other string) bool {
	for {
		p, patternRest, patternMore := strings.Cut(pattern, ".")
		o, otherRest, otherMore := strings.Cut(other, ".")
		switch {
		case p == ">":
			return true
		case o == ">", p != "*" && p != o:
			return false
		case !patternMore || !otherMore:
			return !patternMore && !otherMore
		}
		pattern, other = patternRest, otherRest
	}
}
