package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

// room is where what one says comes to all.
type room struct {
	mu      sync.Mutex
	members []*flyrpc.Stream
}

// join is the handler of one member for as long as that is in the room: it takes lines from the
// member's stream, while others' handlers send theirs to it.
func (r *room) join(name string, s *flyrpc.Stream) error {
	r.enter(s)
	r.say(name + " is here")
	defer func() {
		r.leave(s)
		r.say(name + " has left")
	}()
	for {
		var line string
		if err := s.Recv(&line); err == io.EOF {
			return nil // the member has called CloseSend
		} else if err != nil {
			return err // or is gone without a word
		}
		r.say(name + ": " + line)
	}
}

func (r *room) enter(s *flyrpc.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, s)
}

func (r *room) leave(s *flyrpc.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = slices.DeleteFunc(r.members, func(m *flyrpc.Stream) bool { return m == s })
}

// say sends a line to all. Send queues it and returns, unless a member has left 256 KiB unread: here
// the room waits for that one, where a larger one would give each member a queue and drop the slow.
func (r *room) say(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		_ = m.Send(line) // who is gone finds out in Recv
	}
}

// member is one who chats.
type member struct {
	name string
	cli  *flyrpc.Client
	*flyrpc.Stream
}

func enter(ctx context.Context, addr, name string) (*member, error) {
	cli, err := flyrpc.Dial(ctx, addr, nil)
	if err != nil {
		return nil, err
	}
	s, err := cli.OpenStream(ctx, "/chat", name)
	if err != nil {
		cli.Close()
		return nil, err
	}
	return &member{name, cli, s}, nil
}

// hear prints the next line.
func (m *member) hear() error {
	var line string
	err := m.Recv(&line)
	if err == nil {
		fmt.Printf("%s hears: %s\n", m.name, line)
	}
	return err
}

// chat has two talk. They wait for each other's words, so the order is always the same.
func chat(ctx context.Context, addr string) error {
	ada, err := enter(ctx, addr, "Ada")
	if err != nil {
		return err
	}
	defer ada.cli.Close()
	if err := ada.hear(); err != nil { // that she is in
		return err
	}
	bob, err := enter(ctx, addr, "Bob")
	if err != nil {
		return err
	}
	defer bob.cli.Close()

	for _, step := range []func() error{
		ada.hear, bob.hear,
		func() error { return ada.Send("hello Bob") }, ada.hear, bob.hear,
		func() error { return bob.Send("hello and goodbye") }, ada.hear, bob.hear,
		bob.CloseSend, ada.hear,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	// Bob's handler has returned, which ends what he receives. Ada just hangs up.
	if err := bob.hear(); err != io.EOF {
		return fmt.Errorf("bob still hears something: %v", err)
	}
	return nil
}
