package main

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

const (
	maxLines = 100 // that are kept for those who come
	maxName  = 40  // bytes
	maxText  = 2000
)

// line is what somebody has said.
type line struct {
	N    int    `json:"n"` // counts the lines of a room
	Name string `json:"name"`
	Text string `json:"text"`
	ID   string `json:"id"` // the page's own, so that it may say a line again if no answer came
}

// room is where all meet. It lasts as long as the program runs.
type room struct {
	srv *flyrpc.Server
	id  string // another one each time that the program starts

	mu    sync.Mutex // held while a line is sent, so that all hear lines in the same order
	last  int
	lines []line
}

// nameKey is where a connection keeps its page's name.
type nameKey struct{}

// newRoom has srv serve a room.
func newRoom(srv *flyrpc.Server) {
	r := &room{srv: srv, id: rand.Text()}
	srv.OnMessage("/join", r.join)
	srv.OnMessage("/say", r.say)
}

// joining is what a page says first, also when it comes again. It has heard the lines of Room up to After.
type joining struct {
	Name  string `json:"name"`
	Room  string `json:"room"`
	After int    `json:"after"`
}

// joined is the answer: the lines that the page has missed.
type joined struct {
	Room  string `json:"room"`
	Lines []line `json:"lines"`
}

func (r *room) join(ctx *flyrpc.Context, j *joining) (*joined, error) {
	name := strings.TrimSpace(j.Name)
	if name == "" || len(name) > maxName {
		return nil, flyrpc.Errorf(flyrpc.BadRequest, "a name has 1 to %d bytes", maxName)
	}
	ctx.Conn().SetValue(nameKey{}, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := &joined{Room: r.id, Lines: []line{}}
	for _, l := range r.lines {
		if j.Room != r.id || l.N > j.After {
			answer.Lines = append(answer.Lines, l)
		}
	}
	return answer, nil
}

func (r *room) say(ctx *flyrpc.Context, l *line) error {
	name, joined := ctx.Conn().Value(nameKey{}).(string)
	switch {
	case !joined:
		return flyrpc.Errorf(flyrpc.Forbidden, "call /join first")
	case l.Text == "" || len(l.Text) > maxText:
		return flyrpc.Errorf(flyrpc.BadRequest, "a line has 1 to %d bytes", maxText)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.lines, func(said line) bool { return said.ID == l.ID && l.ID != "" }) {
		return nil // the answer was lost, not the line
	}
	r.last++
	said := line{r.last, name, l.Text, l.ID}
	if r.lines = append(r.lines, said); len(r.lines) > maxLines {
		r.lines = slices.Delete(r.lines, 0, 1)
	}
	_ = r.srv.Broadcast("/line", said) // who doesn't take it asks for it when it comes again
	return nil
}
