package flyrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// randomRun is a conversation of many calls of all kinds, both ways, whose bytes tell what they belong to.
type randomRun struct {
	t       *testing.T
	ids     atomic.Uint32
	handled sync.Map // the ids that handlers have seen
	calls   atomic.Int64
	given   atomic.Int64 // calls given up
	notes   atomic.Int64 // one-way messages sent, and not given up
	seen    atomic.Int64
	stop    atomic.Bool
	large   int // the most bytes of a message or item
}

// ownBytes returns n bytes, at least 12, that say what they belong to: a call, a place in it and a number.
func ownBytes(id uint32, place, number, n int) []byte {
	b := make([]byte, max(n, 12))
	binary.BigEndian.PutUint32(b, id)
	binary.BigEndian.PutUint32(b[4:], uint32(place))
	binary.BigEndian.PutUint32(b[8:], uint32(number))
	for i := 12; i < len(b); i++ {
		b[i] = byte(int(id)*131 + place*17 + i*7 + i>>8)
	}
	return b
}

// parse checks bytes of ownBytes and returns what they say.
func (r *randomRun) parse(what string, b []byte) (id uint32, place, number int) {
	if len(b) < 12 {
		r.t.Errorf("%s: %d bytes", what, len(b))
		return 0, 0, 0
	}
	id, place, number = binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:])), int(binary.BigEndian.Uint32(b[8:]))
	if !bytes.Equal(b, ownBytes(id, place, number, len(b))) {
		r.t.Errorf("%s %d, place %d, number %d: the %d bytes are not its own", what, id, place, number, len(b))
	}
	return id, place, number
}

// want is parse of what belongs to a call and a place.
func (r *randomRun) want(what string, b []byte, id uint32, place int) (number int) {
	gotID, gotPlace, number := r.parse(what, b)
	if gotID != id || gotPlace != place {
		r.t.Errorf("%s: bytes of call %d, place %d, came to call %d, place %d", what, gotID, gotPlace, id, place)
	}
	return number
}

// once notes that a handler has seen a call.
func (r *randomRun) once(what string, id uint32) {
	if _, again := r.handled.LoadOrStore(id, true); again {
		r.t.Errorf("%s %d was handled twice", what, id)
	}
}

// handlers registers what is called.
func (r *randomRun) handlers(reg Registrar) {
	on := reg.registrar().OnMessage
	on("/call", func(b []byte) []byte {
		id, _, n := r.parse("call", b)
		r.once("call", id)
		return ownBytes(id, 1, n, n)
	})
	on("/note", func(b []byte) {
		id, _, _ := r.parse("note", b)
		r.once("note", id)
		r.seen.Add(1)
	})
	on("/upload", func(ctx *Context, message []byte, items iter.Seq2[[]byte, error]) ([]byte, error) {
		id, _, most := r.parse("upload", message)
		r.once("upload", id)
		n := 0
		for b, err := range items {
			if err != nil {
				return nil, err
			}
			r.want("upload", b, id, n)
			if n++; n == most {
				break
			}
		}
		return ownBytes(id, 1, n, 12+most*r.large/100), nil
	})
	on("/receive", func(message []byte) iter.Seq2[[]byte, error] {
		id, n, size := r.parse("receive", message)
		r.once("receive", id)
		return func(yield func([]byte, error) bool) {
			for i := range n {
				if !yield(ownBytes(id, i, n, size), nil) {
					return
				}
			}
		}
	})
	on("/exchange", func(s *Stream) error {
		for i := 0; ; i++ {
			var b []byte
			if err := s.Recv(&b); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			id, place, size := r.parse("exchange", b)
			if place != i {
				r.t.Errorf("exchange %d: item %d came as item %d", id, place, i)
			}
			if err := s.Send(ownBytes(id, i, 1, size)); err != nil {
				return err
			}
		}
	})
	on("/bytes", func(in io.Reader) (io.Reader, error) { return in, nil })
}

// one makes a random call.
func (r *randomRun) one(rng *rand.Rand, c *Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	given := rng.IntN(5) == 0
	if given {
		r.given.Add(1)
		time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel)
	}
	id := r.ids.Add(1)
	r.calls.Add(1)
	size := 12 + rng.IntN(200)
	if rng.IntN(4) == 0 {
		size = rng.IntN(r.large)
	}
	kinds := []func(context.Context, *Conn, uint32, int, int) error{r.call, r.note, r.upload, r.receive, r.exchange, r.bytes}
	k := rng.IntN(len(kinds))
	if err := kinds[k](ctx, c, id, size, rng.IntN(20)); err != nil && !(given && errors.Is(err, Canceled)) {
		r.t.Errorf("call %d of kind %d (given up: %v): %v, %v", id, k, given, err, Outcome(err))
	}
}

func (r *randomRun) call(ctx context.Context, c *Conn, id uint32, size, n int) error {
	b, err := Call[[]byte](ctx, c, "/call", ownBytes(id, 0, n*r.large/10, size))
	if err == nil && len(b) != max(12, n*r.large/10) {
		r.t.Errorf("call %d: %d bytes", id, len(b))
	}
	if err == nil {
		r.want("answer", b, id, 1)
	}
	return err
}

func (r *randomRun) note(ctx context.Context, c *Conn, id uint32, size, _ int) error {
	err := c.SendMessage(ctx, "/note", ownBytes(id, 0, 0, size))
	if err == nil {
		r.notes.Add(1)
	} else if o := Outcome(err); o != NotSent && o != NotProcessed { // it went half at most
		r.t.Errorf("note %d: %v, %v", id, err, o)
	}
	return err
}

func (r *randomRun) upload(ctx context.Context, c *Conn, id uint32, size, n int) error {
	most := max(0, n+1-int(id%3)) // one more than there are, as many, or one less
	b, err := Upload[[]byte](ctx, c, "/upload", ownBytes(id, 0, most, 12), func(yield func([]byte) bool) {
		for i := range n {
			if !yield(ownBytes(id, i, 0, size)) {
				return
			}
		}
	})
	if err == nil {
		if got := r.want("upload's answer", b, id, 1); most > 0 && got != min(n, most) {
			r.t.Errorf("upload %d: %d of %d items, at most %d", id, got, n, most)
		}
	}
	return err
}

func (r *randomRun) receive(ctx context.Context, c *Conn, id uint32, size, n int) error {
	i := 0
	for b, err := range Receive[[]byte](ctx, c, "/receive", ownBytes(id, n, size, 12)) {
		if err != nil {
			return err
		}
		r.want("receive", b, id, i)
		if i++; i == 15 {
			return nil
		}
	}
	if i != n {
		r.t.Errorf("receive %d: %d of %d items", id, i, n)
	}
	return nil
}

func (r *randomRun) exchange(ctx context.Context, c *Conn, id uint32, size, n int) error {
	i := 0
	for b, err := range Exchange[[]byte, []byte](ctx, c, "/exchange", nil, func(yield func([]byte) bool) {
		for i := range n {
			if !yield(ownBytes(id, i, size, 12+i*r.large/100)) {
				return
			}
		}
	}) {
		if err != nil {
			return err
		}
		r.want("exchange", b, id, i)
		if i++; i == 15 {
			return nil
		}
	}
	if i != n {
		r.t.Errorf("exchange %d: %d of %d items", id, i, n)
	}
	return nil
}

func (r *randomRun) bytes(ctx context.Context, c *Conn, id uint32, size, _ int) error {
	sent := ownBytes(id, 0, 0, size)
	back, err := Call[io.ReadCloser](ctx, c, "/bytes", io.LimitReader(bytes.NewReader(sent), int64(len(sent))))
	if err != nil {
		return err
	}
	defer back.Close()
	got, err := io.ReadAll(back)
	if err == nil && !bytes.Equal(got, sent) || !bytes.HasPrefix(sent, got) {
		r.t.Errorf("bytes %d: %d of %d came back, or other ones", id, len(got), len(sent))
	}
	return err
}

// TestStreamsAtRandom has both ends of connections make calls of all kinds at once, with small limits.
func TestStreamsAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed+round), func(t *testing.T) { runAtRandom(t, seed+round, 400*time.Millisecond) })
	}
}

func runAtRandom(t *testing.T, seed uint64, length time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...int) int { return from[rng.IntN(len(from))] }
	so := &ServerOpts{
		StreamWindow: pick(1<<10, 3000, 64<<10, 0), MessageWindow: pick(1<<10, 5000, 0), MaxFrame: pick(100, 1000, 0), MaxCalls: pick(4, 16, 0),
		Zip: Zip{Body: ZipMethod(pick(0, 2)), MinBody: 300},
	}
	co := &ClientOpts{
		StreamWindow: pick(1<<10, 3000, 64<<10, 0), MessageWindow: pick(1<<10, 5000, 0), MaxFrame: pick(100, 1000, 0), MaxCalls: pick(4, 16, 0),
		Zip: Zip{Body: ZipMethod(pick(0, 1)), MinBody: 300},
	}
	t.Logf("server %+v, client %+v", so.limits(), co.limits())
	r := &randomRun{t: t, large: pick(2000, 40_000)}
	setup := func(srv *Server, cli *Client) {
		r.handlers(srv)
		r.handlers(cli)
	}
	p := new(pair)
	if seed%2 == 0 {
		up, down := tcpPair(t)
		p.connect(t, up, down, so, co, setup)
	} else {
		p = newPair(t, so, co, setup)
	}
	var wg sync.WaitGroup
	for _, c := range []*Conn{p.cc, p.sc} {
		for range 8 {
			own := rand.New(rand.NewPCG(rng.Uint64(), 2))
			wg.Go(func() {
				for !r.stop.Load() {
					r.one(own, c)
				}
			})
		}
	}
	time.AfterFunc(length, func() { r.stop.Store(true) })
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	await1(t, done, "the calls to end")
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
	if !eventually(func() bool { return r.seen.Load() == r.notes.Load() }) {
		t.Errorf("%d of %d messages came", r.seen.Load(), r.notes.Load())
	}
	t.Logf("%d calls, %d given up, %d messages", r.calls.Load(), r.given.Load(), r.notes.Load())
}
