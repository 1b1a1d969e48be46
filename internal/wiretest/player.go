package wiretest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

const (
	helloPath = "fly.hello"
	pingPath  = "fly.ping"
	helloSeq  = 65535
	fenceSeq  = 65534
)

// ErrNotOffered is the error of Play for a scenario that needs a compression method which the other end's
// hello doesn't list. Nothing but hello was sent.
var ErrNotOffered = errors.New("the other end doesn't inflate what the scenario needs")

// player is one end of a connection.
type player struct {
	conn    net.Conn
	r       *bufio.Reader
	side    Side
	v1, v2  bool
	inflate bool // bodies by flate
	books   books
	codes   codes
	queue   []*packet         // came before a step asked for it
	bound   map[string]uint16 // sequences by name
	broken  error             // why nothing can be sent any more
	fences  int
}

// Play plays one side of a scenario over conn, and closes it. The error says which step failed, what was
// expected and what came; or it is ErrNotOffered.
func Play(ctx context.Context, conn net.Conn, s Scenario, side Side) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if !s.Plays(side) {
		return fmt.Errorf("scenario %q is not for the side %q", s.Name, side)
	}
	p := &player{conn: conn, r: bufio.NewReader(conn), side: side, bound: make(map[string]uint16)}
	err := p.play(&s)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// play plays all steps.
func (p *player) play(s *Scenario) error {
	if err := p.hurry(stepTime); err != nil {
		return err
	}
	if err := p.handshake(&s.hello); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	for _, method := range s.Needs {
		if !slices.Contains(p.books.peer.Inflate, method) {
			return fmt.Errorf("%w: %s", ErrNotOffered, method)
		}
	}
	for i := range s.steps {
		st := &s.steps[i]
		if err := p.hurry(st.within); err != nil {
			return err
		}
		if p.broken != nil && st.kind != stepClosed {
			return fmt.Errorf("step %d, %s: the step before could not be sent: %w", i+1, st.kind, p.broken)
		}
		if err := p.step(st); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, st.kind, err)
		}
	}
	if p.v2 && !s.ends() {
		if err := errors.Join(p.hurry(stepTime), p.fence()); err != nil {
			return fmt.Errorf("behind the last step: %w", err)
		}
	}
	return nil
}

// hurry bounds what follows.
func (p *player) hurry(d time.Duration) error { return p.conn.SetDeadline(time.Now().Add(d)) }

// handshake begins the connection.
func (p *player) handshake(h *handshake) error {
	switch {
	case h.none:
		p.books.begin()
		return nil
	case h.v1:
		p.v1 = true
		if p.side == Dialling {
			return nil
		}
		if err := p.takeHello(nil); err != nil {
			return err
		}
		no := packet{flag: flagResponse, seq: helloSeq, code: []byte("NOT_FOUND"), payload: []byte("no such path")}
		return p.write(no.bytes())
	}
	p.v2 = true
	var err error
	if p.side == Dialling {
		err = p.sayHello(h.fields)
	}
	if err == nil {
		err = p.takeHello(nil)
	}
	if err == nil && p.side == Accepting {
		err = p.sayHello(h.fields)
	}
	return err
}

// sayHello sends hello, or the answer to it.
func (p *player) sayHello(changes fields) error {
	h := ownHello(changes)
	payload, err := h.encode()
	if err != nil {
		return err
	}
	if p.books.own, err = parseLimits(payload); err != nil {
		return err
	}
	p.books.begin()
	p.inflate = bytes.Contains(h["inflate"], []byte(`"flate"`))
	hello := packet{flag: flagResponse, seq: helloSeq, payload: payload}
	if p.side == Dialling {
		hello.flag, hello.code = flagWait, []byte(helloPath)
	}
	return p.write(hello.bytes())
}

// takeHello takes the other end's hello, or its answer, which must have certain fields.
func (p *player) takeHello(want []want) error {
	pkt, err := p.receive()
	if err != nil {
		return err
	}
	code, flag := helloPath, byte(flagWait)
	if p.side == Dialling {
		code, flag = "", flagResponse
	}
	if pkt.flag&^flagMeta != flag || pkt.seq != helloSeq || string(pkt.code) != code {
		return fmt.Errorf("this is no hello: %s", pkt)
	}
	_, body, err := splitMeta(pkt.flag, pkt.payload)
	if err != nil {
		return err
	}
	if p.books.peer, err = parseLimits(body); err != nil {
		return err
	}
	p.books.begin()
	return p.checkHello(body, want)
}

// checkHello says what is wrong with the fields of the other end's hello.
func (p *player) checkHello(body []byte, wants []want) error {
	var got fields
	if err := json.Unmarshal(body, &got); err != nil {
		return err
	}
	var names []string
	if err := json.Unmarshal(got["serializers"], &names); err != nil {
		return fmt.Errorf("the serializers in %s: %w", body, err)
	}
	if string(got["flyrpc"]) != "2" || !slices.Contains(names, "json") || p.side == Dialling && len(names) != 1 {
		return fmt.Errorf("hello must have flyrpc 2 and the serializer json: %s", body)
	}
	for _, w := range wants {
		value, there := got[string(w.code)]
		if string(w.body) == "null" && !there {
			continue
		}
		if err := w.matchesBody(value); err != nil {
			return fmt.Errorf("the field %q of hello, expected %s: %w; it is %s", w.code, w.body, err, body)
		}
	}
	return nil
}

// write sends bytes. A connection that is closed isn't an error before a step needs it.
func (p *player) write(b []byte) error {
	_, err := p.conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the other end doesn't read: %w", err)
	}
	p.broken = errors.Join(p.broken, err)
	return nil
}

// receive returns the next packet for a step: one that waits, or the next that comes.
func (p *player) receive() (*packet, error) {
	if len(p.queue) > 0 {
		pkt := p.queue[0]
		p.queue = p.queue[1:]
		return pkt, nil
	}
	for {
		pkt, err := p.read()
		if pkt != nil || err != nil {
			return pkt, err
		}
	}
}

// await reads what comes while a step waits for credit.
func (p *player) await() error {
	pkt, err := p.read()
	if pkt != nil {
		p.queue = append(p.queue, pkt)
	}
	return err
}

// read reads one packet and returns it, or nil if it is credit or a ping, which every step lets come.
func (p *player) read() (*packet, error) {
	pkt, err := readPacket(p.r, func(b []byte) error {
		_, err := io.ReadFull(p.r, b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("no packet came: %w", err)
	}
	if p.v1 && pkt.flag&(flagStream|flagMeta|flagZipCode|flagZipPayload) != 0 {
		return nil, fmt.Errorf("a version 1 peer was sent %s", pkt)
	}
	if !p.v2 {
		return pkt, nil
	}
	code, err := p.codes.resolve(pkt, p.books.own.get("codes"))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, pkt)
	}
	if string(code) == pingPath && pkt.flag&(flagWait|flagResponse) == flagWait {
		pong := packet{flag: flagResponse, seq: pkt.seq, payload: pkt.payload}
		p.books.answered(p.books.messages)
		return nil, p.write(pong.bytes())
	}
	pkt.path = code
	kind := kindOf(pkt, bytes.HasPrefix(code, []byte("fly.")))
	if err := p.books.came(pkt, kind); err != nil {
		return nil, fmt.Errorf("%w: %s", err, pkt)
	}
	if kind == credit {
		return nil, nil
	}
	return pkt, nil
}
