package flyrpc

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Metadata is what a program sends beside a message: text by key. The values may
// hold any bytes.
type Metadata map[string]string

// Get returns the value of key, or "" if there is none.
func (m Metadata) Get(key string) string { return m[key] }

// MetaID names an entry of a metadata block on the wire.
type MetaID uint64

// The ids of metadata entries. Receivers skip ids they don't know.
const (
	MetaKey          MetaID = 0 // a key of the program's own, with its value
	MetaTimeout      MetaID = 1 // uvarint: microseconds the caller still waits
	MetaTraceparent  MetaID = 2 // 25 bytes: trace id 16, span id 8, flags 1
	MetaTracestate   MetaID = 3 // W3C tracestate, as text
	MetaSerializer   MetaID = 4 // of this body: empty for raw bytes, "t" for raw text, else a name
	MetaIdempotent   MetaID = 5 // the caller allows repetition
	MetaNotProcessed MetaID = 6 // on an error response: the handler never started
	MetaDetails      MetaID = 7 // error details, in the connection's serializer
)

// maxMetaEntries is the most entries a metadata block may have.
const maxMetaEntries = 64

// MetaEntry is one entry of a metadata block. Key is empty but for MetaKey. Both
// share the block's memory.
type MetaEntry struct {
	ID    MetaID
	Key   []byte
	Value []byte
}

// AppendMeta appends an entry to a metadata block. The key counts only for MetaKey.
func AppendMeta[B ~string | ~[]byte](block []byte, id MetaID, key string, value B) []byte {
	block = binary.AppendUvarint(block, uint64(id))
	if id == MetaKey {
		block = binary.AppendUvarint(block, uint64(len(key)))
		block = append(block, key...)
	}
	block = binary.AppendUvarint(block, uint64(len(value)))
	return append(block, value...)
}

// ParseMeta yields the entries of a metadata block in their order. An error, which
// is ErrBadMeta with its reason, ends it.
func ParseMeta(block []byte) iter.Seq2[MetaEntry, error] {
	return func(yield func(MetaEntry, error) bool) {
		for n := 0; len(block) > 0; n++ {
			e, rest, err := nextMeta(block, n)
			if !yield(e, err) || err != nil {
				return
			}
			block = rest
		}
	}
}

// nextMeta parses the first entry of block, which is entry n of its packet.
func nextMeta(block []byte, n int) (e MetaEntry, rest []byte, err error) {
	if n >= maxMetaEntries {
		return e, nil, fmt.Errorf("%w: more than %d entries", ErrBadMeta, maxMetaEntries)
	}
	id, w := binary.Uvarint(block)
	if w <= 0 {
		return e, nil, fmt.Errorf("%w: entry %d has no id", ErrBadMeta, n)
	}
	e.ID, rest = MetaID(id), block[w:]
	var ok bool
	if e.ID == MetaKey {
		if e.Key, rest, ok = cutPrefixed(rest); !ok {
			return MetaEntry{}, nil, fmt.Errorf("%w: the key of entry %d is cut", ErrBadMeta, n)
		}
	}
	if e.Value, rest, ok = cutPrefixed(rest); !ok {
		return MetaEntry{}, nil, fmt.Errorf("%w: the value of entry %d is cut", ErrBadMeta, n)
	}
	return e, rest, nil
}

// cutPrefixed takes a uvarint-prefixed string of bytes off data.
func cutPrefixed(data []byte) (value, rest []byte, ok bool) {
	size, w := binary.Uvarint(data)
	if w <= 0 || size > uint64(len(data)-w) {
		return nil, nil, false
	}
	end := w + int(size)
	return data[w:end:end], data[end:], true
}

// checkMeta parses a whole block and returns what is wrong with it.
func checkMeta(block []byte) error {
	for n := 0; len(block) > 0; n++ {
		var err error
		if _, block, err = nextMeta(block, n); err != nil {
			return err
		}
	}
	return nil
}

// userMeta returns the program's own entries of a block that was checked. Of
// several with one key, the last counts.
func userMeta(block []byte) Metadata {
	m := Metadata{}
	for e, err := range ParseMeta(block) {
		if err == nil && e.ID == MetaKey {
			m[string(e.Key)] = string(e.Value)
		}
	}
	return m
}

// metaReserve is the room, in bytes and entries, that metadata of the program's own leaves for what FlyRPC
// itself sends.
const (
	metaReserveBytes   = 512
	metaReserveEntries = 8
)

// addUserMeta appends an entry of the program's own to a block.
func addUserMeta(block []byte, key, value string) ([]byte, error) {
	n := 0
	for rest := block; len(rest) > 0; n++ {
		_, rest, _ = nextMeta(rest, 0)
	}
	size := len(block) + len(key) + len(value) + 5
	if n >= maxMetaEntries-metaReserveEntries || size > maxMetaLen-metaReserveBytes {
		return block, localErr(TooLong, NotSent, nil, "metadata %q with %d bytes is too much: %d entries and %d bytes are the limit",
			key, len(value), maxMetaEntries-metaReserveEntries, maxMetaLen-metaReserveBytes)
	}
	return AppendMeta(block, MetaKey, key, value), nil
}
