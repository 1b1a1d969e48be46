package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

// largeText is a message with a text and bytes.
type largeText struct {
	ID   uint32
	Want int
	Data []byte
	Text string
}

// largeRandom is a conversation of calls whose large messages and replies are checked byte by byte, again after
// whoever got them has returned.
type largeRandom struct {
	t     *testing.T
	ids   atomic.Uint32
	calls atomic.Int64
	good  atomic.Int64
	seen  atomic.Int64

	mu   sync.Mutex
	kept []keptText
}

// keptText is what a program has kept of a message or reply.
type keptText struct {
	what string
	b    func() []byte
}

// check checks a text and returns its call.
func (r *largeRandom) check(what string, b []byte, place byte) uint32 {
	id, err := strconv.ParseUint(string(b[:min(len(b), 8)]), 16, 32)
	if err != nil || len(b) < textHead {
		r.t.Errorf("%s: %d bytes begin with %q", what, len(b), b[:min(len(b), 16)])
		return 0
	}
	if i := ownPrefix(uint32(id), place, b); i < len(b) {
		r.t.Errorf("%s %d: of %d bytes, those from number %d on are another's: %.20q", what, id, len(b), i, b[i:])
	}
	r.seen.Add(1)
	return uint32(id)
}

// keep checks what a program has kept, later.
func (r *largeRandom) keep(what string, place byte, b func() []byte) {
	r.mu.Lock()
	r.kept = append(r.kept, keptText{what, func() []byte { r.check(what+", kept", b(), place); return nil }})
	var due []keptText
	if len(r.kept) > 24 {
		due = append(due, r.kept[:12]...)
		r.kept = append([]keptText(nil), r.kept[12:]...)
	}
	r.mu.Unlock()
	for _, k := range due {
		k.b()
	}
}

func (r *largeRandom) keepBytes(what string, place byte, b []byte) uint32 {
	id := r.check(what, b, place)
	r.keep(what, place, func() []byte { return b })
	return id
}

func (r *largeRandom) keepText(what string, place byte, s string) uint32 {
	id := r.check(what, []byte(s), place)
	r.keep(what, place, func() []byte { return []byte(s) })
	return id
}

func (r *largeRandom) keepStruct(what string, place byte, m *largeText) uint32 {
	if len(m.Data) > 0 {
		r.keepBytes(what, place, m.Data)
	}
	return r.keepText(what, place, m.Text)
}

// anyText returns the text in a map of any.
func anyText(v any) []byte {
	m, _ := v.(map[string]any)
	s, _ := m["text"].(string)
	return []byte(s)
}

func (r *largeRandom) handlers(reg Registrar) {
	on := reg.registrar().OnMessage
	size := func(ctx *Context) int { n, _ := strconv.Atoi(ctx.Meta().Get("want")); return n }
	for suffix, opt := range map[string]RouteOption{"": 0, "/ordered": Ordered, "/inline": Inline, "/plain": NoCompress} {
		on("/bytes"+suffix, func(ctx *Context, b []byte) []byte {
			return ownText(r.keepBytes("bytes", 0, b), 1, size(ctx))
		}, opt)
		on("/text"+suffix, func(ctx *Context, s string) (string, error) {
			id := r.keepText("text", 0, s)
			return string(ownText(id, 1, size(ctx))), ctx.SetMeta("id", fmt.Sprint(id))
		}, opt)
		on("/struct"+suffix, func(ctx *Context, m *largeText) *largeText {
			id := r.keepStruct("struct", 0, m)
			text := ownText(id, 1, m.Want/2)
			return &largeText{id, 0, text, string(text)}
		}, opt)
		on("/any"+suffix, func(ctx *Context, v any) any {
			id := r.check("any", anyText(v), 0)
			r.keep("any", 0, func() []byte { return anyText(v) })
			return map[string]any{"text": string(ownText(id, 1, size(ctx)))}
		}, opt)
		on("/raw"+suffix, func(ctx *Context, raw json.RawMessage) json.RawMessage {
			id := r.check("raw", bytes.Trim(raw, `"`), 0)
			r.keep("raw", 0, func() []byte { return bytes.Trim(raw, `"`) })
			return json.RawMessage(fmt.Sprintf("%q", ownText(id, 1, size(ctx))))
		}, opt)
		on("/context"+suffix, func(ctx *Context) error {
			p, meta := ctx.Packet(), ctx.Meta()
			var m, again largeText
			if err := errors.Join(ctx.Decode(&m), ctx.Decode(&again)); err != nil {
				return err
			}
			id := r.keepStruct("context", 0, &m)
			r.keepStruct("context, again", 0, &again)
			size := len(p.Payload)
			r.keep("packet", 0, func() []byte {
				var m largeText
				if len(p.Payload) != size || ctx.Conn().mode.Load().ser.Decode(p.Payload, &m) != nil || meta.Get("want") == "" {
					return nil
				}
				return []byte(m.Text)
			})
			reply := ownText(id, 1, m.Want)
			err := ctx.Reply("", reply)
			clear(reply)
			return err
		}, opt)
	}
	on("/reader", func(in io.Reader) (io.Reader, error) {
		b, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		id := r.keepBytes("reader", 0, b)
		return bytes.NewReader(ownText(id, 1, len(b))), nil
	})
	on("/items", func(s *Stream) error {
		for {
			var m largeText
			if err := s.Recv(&m); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			id := r.keepStruct("item", 0, &m)
			m = largeText{ID: id, Text: string(ownText(id, 1, m.Want))}
			if err := s.Send(&m); err != nil {
				return err
			}
		}
	})
}

// sizes are those at which something changes.
var largeSizes = []int{100, 5 << 10, 16 << 10, 20 << 10, 32 << 10, 48 << 10, 64 << 10, 66 << 10, 128 << 10, 256 << 10}

func (r *largeRandom) size(rng *rand.Rand) int {
	switch rng.IntN(150) {
	case 0:
		return 4<<20 - 2000 + rng.IntN(4000)
	case 1, 2, 3:
		return 1<<20 - 100 + rng.IntN(200)
	}
	return largeSizes[rng.IntN(len(largeSizes))] - 80 + rng.IntN(160)
}

// one makes a random call.
func (r *largeRandom) one(rng *rand.Rand, c *Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if rng.IntN(6) == 0 {
		time.AfterFunc(time.Duration(rng.IntN(4000))*time.Microsecond, cancel)
	}
	id, n, want := r.ids.Add(1), r.size(rng), r.size(rng)
	r.calls.Add(1)
	var meta Metadata
	ctx = WithReplyMeta(WithMeta(ctx, "want", fmt.Sprint(want)), &meta)
	suffix := []string{"", "", "/ordered", "/inline", "/plain"}[rng.IntN(5)]
	text := ownText(id, 0, n)
	defer clear(text) // whatever came of the call, it is the caller's again
	switch rng.IntN(9) {
	case 0:
		b, err := Call[[]byte](ctx, c, "/bytes"+suffix, text)
		return r.answered(err, func() uint32 { return r.keepBytes("reply", 1, b) }, id)
	case 1:
		s, err := Call[string](ctx, c, "/text"+suffix, string(text))
		if err == nil && meta.Get("id") != fmt.Sprint(id) {
			r.t.Errorf("the reply's metadata is %v, want %d", meta, id)
		}
		return r.answered(err, func() uint32 { return r.keepText("text reply", 1, s) }, id)
	case 2:
		m, err := Call[largeText](ctx, c, "/struct"+suffix, largeText{id, want, text[:n/2], string(ownText(id, 0, n/2))})
		return r.answered(err, func() uint32 { return r.keepStruct("struct reply", 1, &m) }, id)
	case 3:
		v, err := Call[any](ctx, c, "/any"+suffix, map[string]any{"text": string(text)})
		return r.answered(err, func() uint32 { return r.keepText("any reply", 1, string(anyText(v))) }, id)
	case 4:
		raw, err := Call[json.RawMessage](ctx, c, "/raw"+suffix, json.RawMessage(fmt.Sprintf("%q", text)))
		return r.answered(err, func() uint32 { return r.keepBytes("raw reply", 1, bytes.Trim(raw, `"`)) }, id)
	case 5:
		var b any
		err := c.Call(ctx, "/context"+suffix, &largeText{id, want, nil, string(text)}, &b)
		return r.answered(err, func() uint32 { return r.keepBytes("context reply", 1, b.([]byte)) }, id)
	case 6:
		if rng.IntN(2) == 0 {
			return c.SendMessage(ctx, "/bytes"+suffix, text)
		}
		return c.SendMessage(ctx, "/struct"+suffix, &largeText{id, 0, text[:n/2], string(ownText(id, 0, n/2))})
	case 7:
		return r.reader(ctx, c, id, text)
	default:
		return r.items(ctx, c, rng)
	}
}

// answered checks a reply that came.
func (r *largeRandom) answered(err error, check func() uint32, id uint32) error {
	if err != nil {
		return err
	}
	if got := check(); got != id {
		r.t.Errorf("call %d was given the reply of %d", id, got)
	}
	r.good.Add(1)
	return nil
}

func (r *largeRandom) reader(ctx context.Context, c *Conn, id uint32, text []byte) error {
	back, err := Call[io.ReadCloser](ctx, c, "/reader", bytes.NewReader(bytes.Clone(text)))
	if err != nil {
		return err
	}
	defer back.Close()
	var got bytes.Buffer
	if id%2 == 0 {
		_, err = io.Copy(&got, back)
	} else {
		_, err = got.ReadFrom(back)
	}
	return r.answered(err, func() uint32 { return r.keepBytes("read", 1, got.Bytes()) }, id)
}

func (r *largeRandom) items(ctx context.Context, c *Conn, rng *rand.Rand) error {
	s, err := c.OpenStream(ctx, "/items", nil)
	if err != nil {
		return err
	}
	defer s.Close()
	for range 1 + rng.IntN(3) {
		id := r.ids.Add(1)
		text := ownText(id, 0, r.size(rng))
		err := s.Send(largeText{id, r.size(rng), text, string(text)})
		clear(text)
		var m largeText
		if recvErr := s.Recv(&m); err == nil || err == io.EOF {
			err = recvErr
		}
		if err := r.answered(err, func() uint32 { return r.keepStruct("item back", 1, &m) }, id); err != nil {
			return err
		}
	}
	return nil
}

// TestLargeAtRandom has both ends make calls with large messages and replies of all kinds, gives some up and cuts the
// connection in the end, while memory is collected often. Every byte is what was sent, also of what was kept.
func TestLargeAtRandom(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	seed := uint64(time.Now().UnixNano())
	answered := int64(0)
	for round := range uint64(largeRounds) {
		t.Run(fmt.Sprintf("seed %d", seed+round), func(t *testing.T) { answered += largeAtRandom(t, seed+round, 350*time.Millisecond) })
	}
	if answered == 0 {
		t.Error("no call was answered")
	}
}

// largeRounds is how many connections TestLargeAtRandom makes.
const largeRounds = 6

// largeAtRandom is one round, with options by chance. It returns how many calls were answered.
func largeAtRandom(t *testing.T, seed uint64, length time.Duration) (answered int64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...int) int { return from[rng.IntN(len(from))] }
	ser := []serializer.Serializer{msgpack.Serializer, jsonser.Serializer}[pick(0, 1)]
	frames := []int{2000, 17 << 10, 40 << 10, 0, 0, 1 << 20}
	zip := func() Zip { return Zip{Body: ZipMethod(pick(0, 0, 1, 2))} }
	so := &ServerOpts{MaxMessage: 16 << 20, MaxFrame: pick(frames...), StreamWindow: pick(20_000, 0, 4<<20), MaxQueued: pick(0, 1<<16), Zip: zip()}
	co := &ClientOpts{MaxMessage: 16 << 20, MaxFrame: pick(frames...), StreamWindow: pick(20_000, 0, 4<<20), MaxQueued: pick(0, 1<<16), Zip: zip(), Serializer: ser}
	t.Logf("%s, server %+v %+v, client %+v %+v", ser.Name(), so.limits(), so.Zip, co.limits(), co.Zip)
	r := &largeRandom{t: t}
	p := new(pair)
	setup := func(srv *Server, cli *Client) { r.handlers(srv); r.handlers(cli) }
	switch pick(0, 1, 1, 2) {
	case 0:
		p = newPair(t, so, co, setup)
	case 1:
		up, down := tcpPair(t)
		p.connect(t, up, down, so, co, setup)
	default: // what may always block
		up, down := tcpPair(t)
		p.connect(t, struct{ net.Conn }{up}, struct{ net.Conn }{down}, so, co, setup)
	}
	if pick(0, 0, 1) == 1 {
		p.cc.OnPacket(func(*Packet) bool { return false })
		p.sc.OnRawPacket(func(*Packet) bool { return false })
	}
	r.run(p, rng, length)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kept {
		k.b()
	}
	t.Logf("%d calls, %d answered, %d texts checked", r.calls.Load(), r.good.Load(), r.seen.Load())
	return r.good.Load()
}

// run makes calls until the connection is cut.
func (r *largeRandom) run(p *pair, rng *rand.Rand, length time.Duration) {
	var wg sync.WaitGroup
	var cut atomic.Bool
	callers, n := []*Conn{p.cc, p.sc}, 1+rng.IntN(5)
	alone := rng.IntN(4) == 0 // which takes other ways
	if alone {
		callers, n = callers[:1], 1
	}
	for _, c := range callers {
		for range n {
			own := rand.New(rand.NewPCG(rng.Uint64(), 2))
			wg.Go(func() {
				for !cut.Load() {
					if err := r.one(own, c); err != nil && !errors.Is(err, Canceled) && !cut.Load() {
						r.t.Errorf("a call failed: %v, %v", err, Outcome(err))
					}
				}
			})
		}
	}
	wg.Go(func() {
		for own := rand.New(rand.NewPCG(rng.Uint64(), 3)); !alone && !cut.Load(); time.Sleep(5 * time.Millisecond) {
			text := ownText(r.ids.Add(1), 0, r.size(own))
			_ = p.srv.Broadcast("/bytes", text) // which doesn't wait, and may leave the connection out
			clear(text)
			text = ownText(r.ids.Add(1), 0, r.size(own))
			_ = p.srv.Broadcast("/struct", &largeText{0, 0, text, string(text)})
			clear(text)
		}
	})
	time.AfterFunc(length, func() {
		cut.Store(true)
		_ = p.sc.Close()
	})
	wg.Wait()
}
