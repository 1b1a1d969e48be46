package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc"
)

// member is one who chats.
type member struct {
	name  string
	cli   *flyrpc.Client
	lines chan string
}

// join connects a member, who answers questions with reply.
func join(ctx context.Context, addr, name string, reply func(question string) (string, error)) (*member, error) {
	m := &member{name, flyrpc.NewClient(addr, &flyrpc.ClientOpts{Info: card{name}}), make(chan string, 16)}
	// The server calls these. Without Ordered the lines would be handled side by side, and might change places.
	m.cli.OnMessage("/line", func(line string) { m.lines <- line }, flyrpc.Ordered)
	m.cli.OnMessage("/ask", reply)
	names, err := flyrpc.Call[[]string](ctx, m.cli, "/who", nil) // the first call connects
	if err != nil {
		m.cli.Close()
		return nil, err
	}
	fmt.Println(name, "finds", names)
	return m, nil
}

// hear prints the next line.
func (m *member) hear(ctx context.Context) error {
	select {
	case line := <-m.lines:
		fmt.Printf("%s hears: %s\n", m.name, line)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s hears nothing: %w", m.name, ctx.Err())
	}
}

// allHear has members hear a line, one after the other, so that the output is always the same.
func allHear(ctx context.Context, members ...*member) error {
	var errs []error
	for _, m := range members {
		errs = append(errs, m.hear(ctx))
	}
	return errors.Join(errs...)
}

// meet is what happens in the hall.
func meet(ctx context.Context, addr string) error {
	var in []*member
	defer func() {
		for _, m := range in {
			m.cli.Close()
		}
	}()
	for _, who := range []struct {
		name  string
		reply func(string) (string, error)
	}{
		{"Ada", func(string) (string, error) { return "yes", nil }},
		{"Bob", func(q string) (string, error) { return "why " + q, nil }},
		{"Cy", func(string) (string, error) { return "", flyrpc.Errorf(flyrpc.Busy, "on the phone") }},
	} {
		m, err := join(ctx, addr, who.name, who.reply)
		if err != nil {
			return err
		}
		if err := allHear(ctx, in...); err != nil { // that there is one more
			return err
		}
		in = append(in, m)
	}
	_, err := join(ctx, addr, "Ada", func(string) (string, error) { return "", nil })
	if !errors.Is(err, flyrpc.Conflict) {
		return fmt.Errorf("a second Ada was not refused: %v", err)
	}
	fmt.Println("a second Ada is refused:", err)
	return talk(ctx, in[0], in[1], in[2])
}

func talk(ctx context.Context, ada, bob, cy *member) error {
	if err := ada.cli.Call(ctx, "/say", "hello", nil); err != nil {
		return err
	}
	if err := allHear(ctx, ada, bob, cy); err != nil {
		return err
	}
	answers, err := flyrpc.Call[[]answer](ctx, bob.cli, "/poll", "lunch at noon?")
	if err != nil {
		return err
	}
	for _, a := range answers {
		fmt.Printf("Bob has asked %s: %s\n", a.Name, a.Text)
	}
	cy.cli.Close() // the server notices, whatever ends the connection
	return allHear(ctx, ada, bob)
}
