package main

import (
	"errors"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

// entry is what the client knows of one thing it has asked for.
type entry struct {
	kind     kind
	sum      uint32 // of the bytes it has sent
	refuse   bool   // it has asked the handler to answer with an error
	ended    bool
	err      error
	outcome  flyrpc.Delivery
	answer   answer
	received int    // items
	gap      string // the first item that was not the next one
}

// answer is what a handler answers: which execution it was, and the sum of what has come.
type answer struct {
	Exec string
	Sum  uint32
}

// journal has all that the client has asked for: the entry of an ID is at ID-1, or nil if it is forgotten. All methods may be called concurrently.
type journal struct {
	mu      sync.Mutex
	entries []*entry
}

// begin enters what is about to be asked for, and returns its ID.
func (j *journal) begin(e *entry) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return uint64(len(j.entries))
}

// end enters how it has ended. An error that the handler was asked for is an answer.
func (j *journal) end(e *entry, err error, a answer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.ended, e.err, e.outcome, e.answer = true, err, flyrpc.Outcome(err), a
	var remote *flyrpc.Error
	if e.refuse && errors.Is(err, flyrpc.Conflict) && errors.As(err, &remote) && remote.Remote() {
		e.err = remote.DecodeDetails(&e.answer)
	}
}

// forget forgets the entries, but not their IDs. Nothing may be open.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.entries)
}

// all returns the entries, in the order of their IDs. Nothing may be asked for any more.
func (j *journal) all() []*entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries
}

// open returns how many have not ended.
func (j *journal) open() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e != nil && !e.ended {
			n++
		}
	}
	return n
}
