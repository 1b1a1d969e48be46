package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// card is what a client says of itself when it connects. Nothing proves it: examples/auth shows how to
// ask for credentials.
type card struct{ Name string }

// answer is what one member says to a question.
type answer struct{ Name, Text string }

// hall is the server's side of the chat.
type hall struct {
	srv *flyrpc.Server

	mu    sync.Mutex // held while something is announced, so that all hear it in the same order
	names []string
}

// nameKey is where a connection keeps its member's name.
type nameKey struct{}

// newHall has srv serve a hall.
func newHall(srv *flyrpc.Server) {
	h := &hall{srv: srv}
	srv.OnConnect(h.enter)
	srv.OnDisconnect(h.leave)
	srv.OnMessage("/who", h.who)
	srv.OnMessage("/say", h.say)
	srv.OnMessage("/poll", h.poll)
}

// enter runs for each new connection before any of its calls is served. Its error refuses the
// connection, and the client's calls fail with it.
func (h *hall) enter(ctx *flyrpc.Context) error {
	var c card
	if err := json.Unmarshal(ctx.Conn().PeerInfo().Info, &c); err != nil || c.Name == "" {
		return flyrpc.Errorf(flyrpc.BadRequest, "ClientOpts.Info has to say your name")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.names, c.Name) {
		return flyrpc.Errorf(flyrpc.Conflict, "%s is here already", c.Name)
	}
	h.names = append(h.names, c.Name)
	ctx.Conn().SetValue(nameKey{}, c.Name)
	h.announce(c.Name + " is here") // to the others: this connection isn't open yet
	return nil
}

// leave runs once for each connection that enter has let in, however it ended.
func (h *hall) leave(ctx *flyrpc.Context, _ error) {
	name := nameOf(ctx.Conn())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = slices.DeleteFunc(h.names, func(n string) bool { return n == name })
	h.announce(name + " has left")
}

// announce tells all. Broadcast doesn't wait for anybody: it returns an error for each connection
// that doesn't take messages as fast as they come. Here such a one misses a line; a hall that must not have
// that would close the connection.
func (h *hall) announce(line string) { _ = h.srv.Broadcast("/line", line) }

func (h *hall) who() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.names)
}

func (h *hall) say(ctx *flyrpc.Context, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.announce(nameOf(ctx.Conn()) + ": " + text)
}

// poll asks all members, the one who calls it included, and returns the answers in the order in which they
// have come into the hall.
func (h *hall) poll(ctx *flyrpc.Context, question string) []answer {
	wait, cancel := context.WithTimeout(ctx, 2*time.Second) // for all of them together
	defer cancel()
	conns := h.srv.Conns()
	answers := make([]answer, len(conns))
	calls := make([]*flyrpc.Pending, len(conns))
	for i, c := range conns {
		answers[i].Name = nameOf(c)
		calls[i] = c.Go(wait, "/ask", question, &answers[i].Text)
	}
	for i, call := range calls {
		if err := call.Err(); err != nil { // no answer is one too
			answers[i].Text = err.Error()
		}
	}
	return answers
}

func nameOf(c *flyrpc.Conn) string {
	name, _ := c.Value(nameKey{}).(string)
	return name
}
