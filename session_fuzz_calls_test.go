package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// sessPath is a path that the peer calls.
type sessPath struct {
	path   string
	routed bool // a handler has it
	takes  bool // the handler takes items
	number bool // the message is a number
	prompt bool // it is answered at once
	want   func(*session, *ourCall) sessOutcome
}

// sessOutcome is what is answered.
type sessOutcome struct {
	items  [][]byte
	joined bool // the items count only together
	code   Code
	body   []byte
	over   bool // there is an answer
}

// sent bounds a body to what the peer takes.
func (s *session) sent(body []byte) sessOutcome {
	if len(body) > s.conf.message {
		return sessOutcome{code: TooLong, over: true}
	}
	return sessOutcome{body: body, over: true}
}

func echoes(s *session, k *ourCall) sessOutcome { return s.sent(k.msg) }

func fails(code Code) func(*session, *ourCall) sessOutcome {
	return func(*session, *ourCall) sessOutcome { return sessOutcome{code: code, over: true} }
}

// passes is what becomes of items that are sent back.
func passes(s *session, k *ourCall) (o sessOutcome) {
	for _, it := range k.items {
		switch {
		case it.bad != "":
			o.code, o.over = it.bad, true
			return o
		case len(it.data) > s.conf.message:
			o.code, o.over = TooLong, true
			return o
		}
		o.items = append(o.items, it.data)
	}
	o.over = k.ended || !k.stream
	return o
}

// joins is what becomes of items that are joined.
func joins(s *session, k *ourCall) (o sessOutcome) {
	if !k.stream {
		return s.sent(k.msg)
	}
	var all []byte
	for _, it := range k.items {
		if it.bad != "" {
			return sessOutcome{code: it.bad, over: true}
		}
		all = append(all, it.data...)
	}
	if !k.ended {
		return sessOutcome{}
	}
	return s.sent(all)
}

// first is what becomes of items of which a handler takes one.
func first(s *session, k *ourCall) (o sessOutcome) {
	switch {
	case len(k.items) > 0 && k.items[0].bad != "":
		return sessOutcome{code: k.items[0].bad, over: true}
	case len(k.items) > 0:
		return s.sent(k.items[0].data)
	}
	return sessOutcome{over: k.ended || !k.stream}
}

func counts(_ *session, k *ourCall) (o sessOutcome) {
	for i := range k.n {
		o.items = append(o.items, fmt.Append(nil, i+1))
	}
	o.over = true
	return o
}

func tears(_ *session, k *ourCall) (o sessOutcome) {
	for i := range k.n {
		o.items = append(o.items, fmt.Append(nil, "line ", i+1))
	}
	return sessOutcome{items: o.items, code: Conflict, over: true}
}

func splits(_ *session, k *ourCall) sessOutcome {
	all := make([]byte, k.n)
	_, _ = counting{}.Read(all)
	return sessOutcome{items: [][]byte{all}, joined: true, over: true}
}

// calls is what comes of a call back to the peer.
func calls(s *session, k *ourCall) sessOutcome {
	if len(k.msg) > s.conf.message {
		return sessOutcome{code: TooLong, over: true}
	}
	body, ok := s.answers[k.tag]
	if !ok {
		return sessOutcome{}
	}
	return s.sent(body)
}

var longPath = "/" + strings.Repeat("\x7f", 1000)

var sessPaths = []*sessPath{
	{path: "/echo", routed: true, prompt: true, want: echoes},
	{path: "/pass", routed: true, takes: true, want: passes},
	{path: "/raw", routed: true, prompt: true, want: echoes},
	{path: "/late", routed: true, takes: true, want: passes},
	{path: "/inline", routed: true, prompt: true, want: echoes},
	{path: "/inline/reply", routed: true, prompt: true, want: echoes},
	{path: "/join", routed: true, takes: true, want: joins},
	{path: "/ordered", routed: true, prompt: true, want: echoes},
	{path: "/hold", routed: true, want: echoes},
	{path: "/size", routed: true, prompt: true, want: func(s *session, k *ourCall) sessOutcome {
		return s.sent([]byte(strconv.Itoa(len(k.msg))))
	}},
	{path: "/fail", routed: true, prompt: true, want: fails(Conflict)},
	{path: "/panic", routed: true, prompt: true, want: fails(HandlerPanic)},
	{path: "/goexit", routed: true, prompt: true, want: fails(HandlerPanic)},
	{path: "/none", prompt: true, want: fails(NotFound)},
	{path: "fly.ping", prompt: true, want: func(_ *session, k *ourCall) sessOutcome {
		if len(k.msg) > maxPing {
			return sessOutcome{code: TooLong, over: true}
		}
		return sessOutcome{body: k.msg, over: true}
	}},
	{path: "fly.hello", prompt: true, want: fails(Conflict)},
	{path: "fly.other", prompt: true, want: fails(NotFound)},
	{path: "", prompt: true, want: fails(NotFound)},
	{path: "/reply", routed: true, prompt: true, want: echoes},
	{path: "/first", routed: true, takes: true, want: first},
	{path: "/read", routed: true, number: true, want: splits},
	{path: "/count", routed: true, number: true, want: counts},
	{path: "/torn", routed: true, number: true, want: tears},
	{path: "/big", routed: true, number: true, want: func(s *session, k *ourCall) sessOutcome {
		return s.sent(bytes.Repeat([]byte("x"), k.n))
	}},
	{path: "/call", routed: true, want: calls},
	{path: "/push", routed: true, want: func(*session, *ourCall) sessOutcome { return sessOutcome{over: true} }},
	{path: "/files/a/b", routed: true, prompt: true, want: func(*session, *ourCall) sessOutcome {
		return sessOutcome{body: []byte("a/b"), over: true}
	}},
	{path: "/deaf", routed: true, takes: true, want: func(*session, *ourCall) sessOutcome { return sessOutcome{over: true} }},
	{path: longPath, prompt: true, want: fails(NotFound)},
}

// release opens the gate that some handlers wait at, for good or for those that are there.
func (s *session) release(forGood bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return
	}
	close(s.gate)
	s.gate = make(chan struct{})
	if s.open = forGood; forGood {
		close(s.gate)
	}
}

// waitGate waits for the gate, or the end of ctx.
func (s *session) waitGate(ctx context.Context) error {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handlers registers what the peer calls.
func (s *session) handlers(r Registrar) {
	streamHandlers(r)
	on := r.registrar().OnMessage
	raw := func(b []byte) []byte { return b }
	on("/raw", raw)
	on("/inline", raw, Inline)
	on("/inline/reply", func(ctx *Context, b []byte) {
		_ = ctx.Reply("", b)
		clear(b)
	}, Inline)
	on("/ordered", raw, Ordered)
	on("/fail", func() error { return Errorf(Conflict, "no").WithDetails("why") })
	on("/panic", func() { panic("as it should") })
	on("/goexit", func(ctx *Context) {
		runtime.Goexit()
	})
	on("/hold", func(ctx *Context, b []byte) ([]byte, error) { return b, s.waitGate(ctx) })
	on("/reply", func(ctx *Context, b []byte) {
		_ = ctx.Reply("", b)
		_ = s.waitGate(ctx)
	})
	pass := func(st *Stream) error {
		for {
			var b []byte
			if err := st.Recv(&b); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := st.Send(b); err != nil {
				return err
			}
		}
	}
	on("/late", func(ctx *Context, st *Stream) error {
		if err := s.waitGate(ctx); err != nil {
			return err
		}
		return pass(st)
	})
	on("/deaf", func(ctx *Context, st *Stream) error {
		st.Close()
		return s.waitGate(ctx)
	})
	r.registrar().With().OnMessage("/call", func(ctx *Context, b []byte) (reply []byte, err error) {
		err = ctx.Call("/back", b, &reply)
		return reply, err
	})
	on("/push", func(ctx *Context, b []byte) (err error) {
		for range 3 {
			err = errors.Join(err, ctx.SendMessage("/pushed", b))
		}
		return err
	})
	note := func(ctx *Context, b []byte) {
		s.mu.Lock()
		s.heard[ctx.Path()+string(b)]++
		s.mu.Unlock()
	}
	on("/note", note)
	on("/note/ordered", note, Ordered)
	on("/note/inline", note, Inline)
	on("/note/late", func(ctx *Context, b []byte) {
		_ = s.waitGate(ctx)
		note(ctx, b)
	})
	on("/read", func(n int) io.Reader {
		all := make([]byte, n)
		_, _ = counting{}.Read(all)
		return bytes.NewReader(all)
	})
	on("/files/{path...}", func(ctx *Context) []byte { return []byte(ctx.Param("path")) })
	r.registrar().OnMessage("/first", func(items iter.Seq2[[]byte, error]) ([]byte, error) {
		for b, err := range items {
			return b, err
		}
		return nil, nil
	})
}

// localCall is a call that a program makes at the end under test.
type localCall struct {
	tag    byte
	kind   int
	size   int
	sizes  []int // of the items that it sends
	peer   *theirCall
	cancel context.CancelFunc
	gaveUp bool
	timed  bool

	mu    sync.Mutex
	done  bool
	err   error
	reply []byte
	items [][]byte
	n     int // messages that came
}

func (l *localCall) isDone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// The kinds of localCall.
const (
	localBytes = iota
	localNil
	localGo
	localMessage
	localStream
	localReceive
	localUpload
	localReaders
	localInt
	localPing
	localKinds
)

// startLocal has the end under test make a call.
func (s *session) startLocal() {
	tag, ok := s.newTag()
	if !ok {
		return
	}
	l := &localCall{tag: tag, kind: int(s.byte()) % localKinds}
	l.size = 1 + pick(s, 0, 5, 300, 2000, 6000, 16383)
	if s.conf.tiny {
		l.size = 1 + l.size%8
	}
	for range s.byte() % 5 {
		n := pick(s, 1, 100, 1000, 5000)
		if s.conf.tiny {
			n = 1 + n%8
		}
		l.sizes = append(l.sizes, n)
	}
	path := fmt.Sprint("/p", s.byte()%4, strings.Repeat("y", 70*int(tag%2)))
	ctx, cancel := context.WithCancel(context.Background())
	if l.timed = s.byte()%8 == 0; l.timed {
		ctx, cancel = context.WithTimeout(context.Background(), 3*time.Second)
	}
	l.cancel = cancel
	s.local = append(s.local, l)
	s.note("local %d: kind %d, %d bytes, items %v", tag, l.kind, l.size, l.sizes)
	msg := tagged(tag, l.size)
	go func() {
		defer cancel()
		err := s.runLocal(ctx, l, path, msg)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.done, l.err = true, err
	}()
}

func (s *session) runLocal(ctx context.Context, l *localCall, path string, msg []byte) (err error) {
	c := s.c
	items := func(yield func([]byte) bool) {
		for _, n := range l.sizes {
			if !yield(tagged(l.tag, n)) {
				return
			}
		}
	}
	switch l.kind {
	case localBytes:
		return c.Call(ctx, path, msg, &l.reply)
	case localNil:
		return c.Call(ctx, path, msg, nil)
	case localGo:
		return c.Go(ctx, path, msg, &l.reply).Err()
	case localMessage:
		return c.SendMessage(ctx, path, msg)
	case localStream:
		st, err := c.OpenStream(ctx, path, msg)
		if err != nil {
			return err
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for b := range items {
				if st.Send(b) != nil {
					return
				}
			}
			_ = st.CloseSend()
		}()
		err = l.recvAll(st)
		st.Close()
		<-sent
		return err
	case localReceive:
		st, err := openReceive(ctx, c, path, msg)
		if err != nil {
			return err
		}
		defer st.Close()
		return l.recvAll(st)
	case localUpload:
		l.reply, err = Upload[[]byte](ctx, c, path, msg, iter.Seq[[]byte](items))
		return err
	case localReaders:
		var all []byte
		for b := range items {
			all = append(all, b...)
		}
		var r io.ReadCloser
		// the tag is the path's, as the message of such a call is nothing
		if err := c.Call(ctx, fmt.Sprint("/tag/", l.tag), bytes.NewReader(all), &r); err != nil {
			return err
		}
		l.reply, err = io.ReadAll(r)
		r.Close()
		return err
	case localInt:
		var n int
		return c.Call(ctx, path, msg, &n)
	default:
		_, err := c.ping(ctx, len(msg)%(maxPing+1), 0)
		return err
	}
}

// recvAll receives items up to the end, or an error that comes again.
func (l *localCall) recvAll(st *Stream) error {
	var last error
	for range 10000 {
		var b []byte
		err := st.Recv(&b)
		switch {
		case err == nil:
			l.items = append(l.items, b)
		case err == io.EOF:
			return nil
		case err == last:
			return err
		default:
			last = err
			l.items = append(l.items, nil) // one that can't be read
		}
	}
	return errors.New("an error doesn't come again")
}

func (s *session) cancelLocals() {
	for _, l := range s.local {
		if !l.isDone() {
			l.gaveUp = true
		}
		l.cancel()
	}
}

// checkLocals looks what has come of the calls of the end under test, when all have ended.
func (s *session) checkLocals() {
	for _, l := range s.local {
		if !l.isDone() {
			s.fail("local call %d has not ended", l.tag)
		}
		for _, b := range append(slices.Clone(l.items), l.reply) {
			if l.peer != nil && foreign(l.tag, b) >= 0 && s.wild == "" && !(l.kind == localInt) {
				s.fail("local call %d got a byte of another: %.40q", l.tag, b)
			}
		}
		if s.wild == "" {
			s.checkLocal(l)
		}
	}
}

// checkLocal looks what has come of one.
func (s *session) checkLocal(l *localCall) {
	what := fmt.Sprintf("local call %d of kind %d ended with %v, %d bytes, %d items", l.tag, l.kind, l.err, len(l.reply), len(l.items))
	if l.kind == localPing {
		if l.err != nil && !l.gaveUp && !l.timed && !s.closed && !s.mayEnd {
			s.fail("%s", what)
		}
		return
	}
	if l.kind == localMessage {
		if l.n > 1 || l.err == nil && l.n == 0 && !s.closed && !s.choked && !s.mayEnd && !s.drained {
			s.fail("%s, and came %d times", what, l.n)
		}
		return
	}
	p := l.peer
	switch {
	case p == nil || !p.closing:
		if l.err == nil {
			s.fail("%s without an answer", what)
		}
		return
	case l.gaveUp || l.timed || s.closed || p.odd || p.canceled && l.kind != localInt:
		return
	}
	if len(l.items) > len(p.items)+2 {
		s.fail("%s, sent were %d", what, len(p.items))
	}
	var e *Error
	code := Code("")
	if errors.As(l.err, &e) {
		code = e.Code
	}
	switch l.kind {
	case localStream, localReceive:
		want := [][]byte{}
		for _, it := range p.items {
			want = append(want, it.data)
		}
		got := l.items
		if p.code == "" && len(p.bad) == 0 && len(p.items) == 0 { // raw, if empty too
			want = append(want, p.body)
		}
		if l.err != nil && len(got) > 0 && got[len(got)-1] == nil {
			got = got[:len(got)-1] // the error itself
		}
		if len(p.items) > 0 && len(p.bad) > 0 && p.code == "" {
			return
		}
		if len(p.bad) > 0 {
			if len(p.items) == 0 && l.err == nil && len(l.items) == 0 {
				s.fail("%s, want %q", what, p.bad)
			}
			return
		}
		if code != Code(p.code) {
			s.fail("%s, want %q", what, p.code)
		}
		if len(got) != len(want) {
			s.fail("%s, want %d items", what, len(want))
		}
		for i, b := range got {
			if !bytes.Equal(b, want[i]) && want[i] != nil {
				s.fail("%s: item %d has %d bytes, want %d", what, i, len(b), len(want[i]))
			}
		}
	default:
		s.checkReply(l, p, code, what)
	}
}

// checkReply looks what has come of a call that wants one reply.
func (s *session) checkReply(l *localCall, p *theirCall, code Code, what string) {
	var joined []byte
	for _, it := range p.items {
		joined = append(joined, it.data...)
		if it.bad != "" {
			if code == "" {
				s.fail("%s, and an item is bad", what)
			}
			return
		}
	}
	switch {
	case len(joined) > sessMessage && code == TooLong:
	case len(p.items) > 0 && (l.kind == localNil || l.kind == localInt):
		if code != BadRequest {
			s.fail("%s, want an error for the items", what)
		}
	case len(p.bad) > 0:
		if !slices.Contains(p.bad, code) {
			s.fail("%s, want %q", what, p.bad)
		}
	case code != Code(p.code):
		if l.kind == localInt && p.code == "" && code == BadRequest {
			return
		}
		s.fail("%s, want %q", what, p.code)
	case p.code != "" || l.kind == localNil || l.kind == localInt:
	case len(p.items) > 0 && !bytes.Equal(l.reply, joined), len(p.items) == 0 && !bytes.Equal(l.reply, p.body):
		s.fail("%s, want %d or %d bytes", what, len(joined), len(p.body))
	}
}

// takeRequest takes a request, message or piece of the end under test.
func (s *session) takeRequest(h header, payload []byte) {
	code := string(h.code)
	switch {
	case h.flag&FlagZipCode != 0:
		b, err := s.zip.InflateCode(nil, h.code, maxCodeLen, s.canInflate())
		if err != nil {
			s.fail("code %q: %v", h.code, err)
		}
		code = string(b)
	case len(code) > 0 && code[0] == learnedMark:
		id := code[1]
		if id < firstLearned || int(id-firstLearned) >= s.conf.codes {
			s.fail("learned code %q of %d", code, s.conf.codes)
		}
		if len(code) > 2 {
			s.learned[id] = code[2:]
		}
		if code = s.learned[id]; code == "" {
			s.fail("learned code %x was not taught", id)
		}
	}
	k := s.theirs[h.seq]
	wait := h.flag&FlagWait != 0
	if wait && code == pingPath {
		if h.flag&FlagStream != 0 || len(payload) > maxPing {
			s.fail("a ping with %#x and %d bytes", uint8(h.flag), len(payload))
		}
		_, body := s.open1(h.flag, payload)
		s.send(Packet{Flag: FlagResponse, Sequence: h.seq, Payload: body})
		return
	}
	if k != nil && !k.half {
		s.fail("request %d is open already", h.seq)
	}
	piece := h.flag&FlagStream != 0 && code == pieceCode
	if k == nil && (wait || piece) {
		if h.seq == 0 || len(s.theirs) == s.conf.calls {
			s.fail("request %d when %d are open", h.seq, len(s.theirs))
		}
		k = &theirCall{seq: h.seq, half: true, budget: s.conf.window, credit: sessWindow}
		s.theirs[h.seq], s.known[h.seq] = k, true
	}
	cost := flow.Cost(len(payload))
	if piece {
		if k.budget -= cost; k.budget < 0 {
			s.fail("call %d has sent more than its credit", h.seq)
		}
		k.due += cost
		k.pieces = append(k.pieces, payload...)
		return
	}
	if k != nil {
		payload = append(k.pieces, payload...)
		k.pieces = nil
	}
	_, body := s.open1(h.flag, payload)
	if !wait {
		s.takeMessage(h, code, k, body, cost)
		return
	}
	k.half = false
	k.stream = h.flag&FlagStream != 0
	k.ended = !k.stream
	s.identify(k, code, body)
}

// identify finds out which local call, or handler, a request is of.
func (s *session) identify(k *theirCall, path string, body []byte) {
	if tag, err := strconv.Atoi(strings.TrimPrefix(path, "/tag/")); err == nil {
		k.tag = byte(tag)
	} else if len(body) > 0 {
		k.tag = body[0] >> 2
		if !bytes.Equal(body, tagged(k.tag, len(body))) {
			s.fail("request %d is damaged: %.40q", k.seq, body)
		}
	}
	for _, l := range s.local {
		if l.tag != k.tag {
			continue
		}
		if l.peer != nil {
			s.fail("local call %d came twice", l.tag)
		}
		if len(body) != l.size && l.kind != localReaders {
			s.fail("local call %d has %d bytes, want %d", l.tag, len(body), l.size)
		}
		l.peer, k.local = k, l
	}
	if k.local == nil && path != "/back" {
		s.fail("request %d to %.40q is nobody's", k.seq, path)
	}
}

// takeMessage takes a one-way message.
func (s *session) takeMessage(h header, path string, k *theirCall, body []byte, cost int) {
	if k != nil {
		delete(s.theirs, h.seq)
	} else if h.seq != 0 {
		s.fail("message with sequence %d", h.seq)
	}
	if path == byePath {
		if !s.drained && !s.mayEnd {
			s.fail("bye: %s", body)
		}
		return
	}
	if s.budget -= cost; s.budget < 0 {
		s.fail("messages take more than their credit")
	}
	s.due += cost
	if len(body) == 0 {
		s.fail("an empty message to %q", path)
	}
	tag := body[0] >> 2
	if !bytes.Equal(body, tagged(tag, len(body))) {
		s.fail("a message is damaged: %.40q", body)
	}
	if want, ok := s.pushed[tag]; ok && len(want) == len(body) && path == "/pushed" {
		return
	}
	for _, l := range s.local {
		if l.tag == tag && l.kind == localMessage && l.size == len(body) {
			l.n++
			return
		}
	}
	s.fail("message %.40q to %s is nobody's", body, path)
}

// takeTheirFrame takes a frame of a call of the end under test.
func (s *session) takeTheirFrame(h header, payload []byte) {
	if h.seq == 0 {
		if string(h.code) != creditCode {
			s.fail("frame %q of no call", h.code)
		}
		if s.credit += s.creditIn(payload); s.credit > sessMessages {
			s.fail("messages are granted %d", s.credit)
		}
		return
	}
	k := s.theirs[h.seq]
	if k == nil {
		if !s.known[h.seq] {
			s.fail("frame %q of call %d, which never was", h.code, h.seq)
		}
		return // it was answered meanwhile
	}
	switch string(h.code) {
	case cancelCode:
		s.takeCancel(k)
	case creditCode:
		if k.credit += s.creditIn(payload); k.credit > sessWindow {
			s.fail("call %d is granted %d", h.seq, k.credit)
		}
	case endCode:
		if k.half || k.ended || k.parted {
			s.fail("an end of items of %d", h.seq)
		}
		k.ended = true
		if l := k.local; l != nil && l.kind != localReaders && len(k.got) != len(l.sizes) {
			s.fail("call %d ends after %d items of %d", l.tag, len(k.got), len(l.sizes))
		}
	case itemCode, pieceCode:
		cost := flow.Cost(len(payload))
		if k.budget -= cost; k.budget < 0 || k.half || k.ended {
			s.fail("an item of %d, with %d credit, half %v, ended %v", h.seq, k.budget, k.half, k.ended)
		}
		k.due += cost
		k.pieces, k.parted = append(k.pieces, payload...), true
		if string(h.code) == pieceCode {
			return
		}
		_, body := s.open1(h.flag, k.pieces)
		k.pieces, k.parted = nil, false
		s.takeItem(k, body)
	default:
		s.fail("frame %q of call %d", h.code, h.seq)
	}
}

// takeItem checks an item of a local call.
func (s *session) takeItem(k *theirCall, body []byte) {
	k.got = append(k.got, body)
	l := k.local
	switch {
	case l == nil:
		s.fail("an item of call %d", k.seq)
	case foreign(l.tag, body) >= 0:
		s.fail("an item of local call %d has a byte of another: %.40q", l.tag, body)
	case l.kind == localReaders:
	case len(k.got) > len(l.sizes) || len(body) != l.sizes[len(k.got)-1]:
		s.fail("item %d of local call %d has %d bytes", len(k.got), l.tag, len(body))
	}
}

// takeCancel takes a cancellation.
func (s *session) takeCancel(k *theirCall) {
	k.canceled = true
	if k.half {
		delete(s.theirs, k.seq)
		s.send(Packet{Flag: FlagResponse, Sequence: k.seq, Code: string(Canceled), Payload: []byte("canceled"), Meta: AppendMeta(nil, MetaNotProcessed, "", "")})
	}
}
