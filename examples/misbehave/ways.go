package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// way is a way to misbehave.
type way struct {
	name string
	cut  bool // the server is to cut it
	// misbehave returns when the connection was cut, or ctx has ended, which closes it.
	misbehave func(ctx context.Context, p *peer) error
}

// ways returns those whose names contain a text.
func ways(text string) []way {
	all := []way{
		{"silent from the start", true, silent},
		{"slow hello", true, slowHello},
		{"dribbles a large packet", true, dribbleLarge},
		{"calls and never reads", true, neverReads},
		{"floods with calls and messages", true, flood},
		{"garbage", true, garbage},
		{"resets amid its calls", false, reset}, // it ends by itself
		{"too large packets", true, tooLarge},
		{"streams and never reads", false, unreadStreams}, // its calls are ended
	}
	return slices.DeleteFunc(all, func(w way) bool { return !strings.Contains(w.name, text) })
}

// silent says nothing.
func silent(_ context.Context, p *peer) error {
	<-p.drop()
	return io.EOF
}

// slowHello says hello a byte now and then.
func slowHello(ctx context.Context, p *peer) error { return p.dribble(ctx, helloPacket()) }

// dribbleLarge sends a large packet a byte now and then.
func dribbleLarge(ctx context.Context, p *peer) error {
	if err := p.hello(); err != nil {
		return err
	}
	return p.dribble(ctx, p.request("/note", make([]byte, 60<<10)))
}

// neverReads makes as many calls as it may, whose answers are large, and reads none.
func neverReads(ctx context.Context, p *peer) error {
	if err := p.SetReadBuffer(4 << 10); err != nil {
		return err
	}
	if err := p.hello(); err != nil {
		return err
	}
	var calls []byte
	for range maxCalls {
		calls = append(calls, p.request("/large", nil)...)
	}
	for b := calls; ; b = packet(0, 0, "/note", nil) { // which fails when the server has gone
		if _, err := p.Write(b); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(beat):
		}
	}
}

// flood makes calls and sends messages as fast as it can, whatever it was told of limits, or within them.
func flood(_ context.Context, p *peer) error {
	if err := p.hello(); err != nil {
		return err
	}
	heeds := rand.N(2) == 0
	if !heeds {
		p.drop()
	}
	note := packet(0, 0, "/note", nil)
	for {
		var b []byte
		for range maxCalls / 2 {
			b = append(append(b, p.request("/echo", nil)...), note...)
		}
		if _, err := p.Write(b); err != nil {
			return err
		}
		for range maxCalls / 2 {
			if !heeds {
				break
			}
			if _, err := p.answer(); err != nil {
				return err
			}
		}
	}
}

// garbage sends what is no packet, before hello or after it.
func garbage(ctx context.Context, p *peer) error {
	if rand.N(2) == 0 {
		if err := p.hello(); err != nil {
			return err
		}
	}
	cut := p.drop()
	random := rand.NewChaCha8([32]byte{byte(rand.N(256)), byte(rand.N(256))})
	b := make([]byte, 1<<10)
	for {
		_, _ = random.Read(b)
		if _, err := p.Write(b); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-cut:
			return io.EOF
		case <-time.After(beat / 4):
		}
	}
}

// reset makes calls and is gone while they run, without a farewell.
func reset(ctx context.Context, p *peer) error {
	if err := p.hello(); err != nil {
		return err
	}
	for range maxCalls / 2 {
		if _, err := p.Write(p.request("/slow", nil)); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(beat):
	}
	return p.SetLinger(0) // so that Close resets
}

// tooLarge sends a packet that is longer than was agreed, which is refused, and then begins one
// that is too long to be skipped.
func tooLarge(_ context.Context, p *peer) error {
	if err := p.hello(); err != nil {
		return err
	}
	if _, err := p.Write(p.request("/echo", make([]byte, 200<<10))); err != nil {
		return err
	}
	if answer, err := p.answer(); err != nil || answer.Code != string(flyrpc.TooLong) {
		return fmt.Errorf("the answer to a packet of 200 KiB is %q, %w", answer.Code, err)
	}
	huge := []byte{byte(flyrpc.FlagWait) | 2, 0, 9} // 2: a length of four bytes
	huge = append(append(huge, "/echo"...), 0, 0x40, 0, 0, 0)
	if _, err := p.Write(append(huge, make([]byte, 4<<10)...)); err != nil {
		return err
	}
	<-p.drop()
	return io.EOF
}

// unreadStreams opens streams and grants no more than the server may send from the start. It opens new
// ones as often as the server ends them.
func unreadStreams(ctx context.Context, p *peer) error {
	if err := p.hello(); err != nil {
		return err
	}
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for {
			switch answer, err := p.answer(); {
			case err != nil:
				return
			case answer.Code == string(flyrpc.Timeout):
				p.served()
			}
		}
	}()
	const streams = 8
	for {
		for range streams {
			if _, err := p.Write(p.request("/ticks", nil)); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-cut:
			return io.EOF
		case <-time.After(10 * beat):
		}
	}
}
