package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// acts plays all that is shown.
func (p *play) acts(ctx context.Context) error {
	if err := p.cli.Connect(ctx); err != nil {
		return err
	}
	if err := p.await(ctx, len(p.servers)); err != nil {
		return err
	}
	count, err := p.who(ctx, 9)
	if err != nil {
		return err
	}
	fmt.Println("three servers, nine calls:", count)
	for _, act := range []func(context.Context) error{p.inFlight, p.rolling, p.stream, p.nobody} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inFlight kills a server while each has two calls in flight, one of them idempotent.
func (p *play) inFlight(ctx context.Context) error {
	at, release := p.hold()
	defer release()
	var once, again [3]string
	var calls, repeatable [3]*flyrpc.Pending
	for i := range calls {
		calls[i] = p.cli.Go(ctx, "/work", nil, &once[i])
	}
	for i := range repeatable {
		repeatable[i] = p.cli.Go(flyrpc.WithIdempotent(ctx), "/work", nil, &again[i])
	}
	for range len(calls) + len(repeatable) {
		<-at
	}
	fmt.Println("b is killed, with two calls in flight at each")
	if err := p.servers[1].kill(); err != nil {
		return err
	}
	<-at // one call is repeated
	release()
	answered := map[string]int{}
	for i := range calls {
		if err := calls[i].Err(); err != nil {
			fmt.Printf("one has failed: its outcome is %v\n", flyrpc.Outcome(err))
		} else {
			answered[once[i]]++
		}
		if err := repeatable[i].Err(); err != nil {
			return err
		}
		answered[again[i]]++
	}
	fmt.Println("the others were answered by", names(answered), "as the one that is idempotent was repeated")
	count, err := p.who(ctx, 8)
	if err != nil {
		return err
	}
	fmt.Println("eight more calls:", count)
	if err := p.servers[1].start(); err != nil {
		return err
	}
	if err := p.await(ctx, 1); err != nil {
		return err
	}
	if count, err = p.who(ctx, 9); err != nil {
		return err
	}
	fmt.Println("b is back, nine calls:", count)
	return nil
}

// rolling restarts one server after the other in order, under load.
func (p *play) rolling(ctx context.Context) error {
	stop, end := context.WithCancel(ctx)
	defer end()
	failed := make(chan error, 1)
	go func() {
		var err error
		for err == nil && stop.Err() == nil {
			_, err = p.who(ctx, 1)
		}
		failed <- err
	}()
	for _, s := range p.servers {
		if err := s.restart(); err != nil {
			return err
		}
		if err := p.await(ctx, 1); err != nil {
			return err
		}
	}
	end()
	if err := <-failed; err != nil {
		return fmt.Errorf("during a rolling restart: %w", err)
	}
	fmt.Println("all were shut down and started again, one after the other, and no call has failed")
	return nil
}

// stream kills the server that sends a stream, amid it.
func (p *play) stream(ctx context.Context) error {
	at, release := p.hold()
	defer release()
	killed := make(chan error, 1)
	go func() {
		victim := <-at // it has sent a few items, and waits
		killed <- p.named(victim).kill()
		release()
	}()
	var numbers []int
	servers := map[string]int{}
	rest := flyrpc.Resume(func(last item) any { return from{last.N + 1} })
	for it, err := range flyrpc.Receive(ctx, p.cli, "/count", from{1}, rest) {
		if err != nil {
			return err
		}
		numbers = append(numbers, it.N)
		servers[it.Server]++
	}
	if err := <-killed; err != nil {
		return err
	}
	fmt.Printf("a stream whose server was killed amid it: items %v, from %d servers\n", numbers, len(servers))
	return nil
}

// nobody kills all.
func (p *play) nobody(ctx context.Context) error {
	if err := killAll(p.servers); err != nil {
		return err
	}
	for p.cli.State() == flyrpc.Connected { // it takes a moment until the client has noticed
		time.Sleep(time.Millisecond)
	}
	hasty, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err := p.who(hasty, 1)
	if !errors.Is(err, flyrpc.Timeout) {
		return fmt.Errorf("with no server at all: %v", err)
	}
	fmt.Println("all are killed, and a call with 100 ms has failed: its outcome is", flyrpc.Outcome(err))
	started := make(chan error, 1)
	go func() {
		time.Sleep(200 * time.Millisecond)
		started <- p.servers[2].start()
	}()
	count, err := p.who(ctx, 1) // waits, as every call does that isn't sent yet
	fmt.Println("c is started again, and a call that was waiting was answered by", names(count))
	return errors.Join(err, <-started)
}
