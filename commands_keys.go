package flyrpc

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-flyrpc/flyrpc/internal/command"
)

// enter takes a command into the open ones and returns its sequence. With own it is answered here, and its key may be open.
func (t *commandConn) enter(key []byte, own *ownAnswer) (uint16, *Error) {
	name, long := t.nameOf(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if own != nil {
		name = ""
	} else if long {
		return 0, longKey()
	}
	if _, dup := t.keys[name]; dup {
		return 0, Errorf(Conflict, "a command with the key %s is open already", strings.ToValidUTF8(string(key), "\uFFFD"))
	}
	for t.lastSeq++; t.lastSeq == 0 || t.lastSeq == helloSequence || t.open[t.lastSeq] != nil; {
		t.lastSeq++
	}
	if name != "" {
		t.keys[name] = struct{}{}
	}
	t.open[t.lastSeq] = &openCommand{key: bytes.Clone(key), name: name, own: own}
	return t.lastSeq, nil
}

func longKey() *Error { return Errorf(BadRequest, "the key has more than %d bytes", command.MaxKey) }

// nameOf returns what tells a key from others, which is "" for none and for empty text, and whether it is too long.
func (t *commandConn) nameOf(key []byte) (name string, long bool) {
	if key == nil || len(key) > 8*command.MaxKey {
		return "", key != nil
	}
	var text string
	if t.ser().Decode(key, &text) != nil {
		return "=" + string(key), len(key) > command.MaxKey
	}
	if text == "" {
		return "", false
	}
	return "'" + text, len(text) > command.MaxKey
}

// giveUp forgets a call of this end whose answer nobody waits for.
func (t *commandConn) giveUp(seq uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(seq)
}

// drop forgets a call of this end. It is called with the lock held.
func (t *commandConn) drop(seq uint16) {
	delete(t.calls, t.sent[seq])
	delete(t.sent, seq)
}

// newKey returns a key that no command of this end has had, and notes that its answer is that of the call seq, if that isn't 0.
func (t *commandConn) newKey(seq uint16) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastKey++
	key := strconv.FormatUint(t.lastKey, 10)
	if seq != 0 {
		t.drop(seq)
		t.calls[key], t.sent[seq] = seq, key
	}
	return key
}
