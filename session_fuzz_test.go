package flyrpc

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/transport"
)

// These tests run whole sessions. A program, which is a string of bytes, says what one end of a
// connection does: the peer, of which the test keeps the accounts, beside a real Server or Client. What the
// peer does is valid as long as the program doesn't ask for something else; then all that comes back is
// known beforehand and checked. After an invalid step that closes the connection, it has to be closed,
// and after garbage nothing is known but that everything comes to its end.

// The limits of the end under test.
const (
	sessCalls    = 8
	sessWindow   = 2 << 10
	sessMessages = 4 << 10
	sessMessage  = 16 << 10
	sessFrame    = 1 << 10
	sessQueued   = 64 << 10
	sessWhole    = sessMessage + maxMetaLen + 3
	sessPart     = sessWindow/2 - 32
	sessTags     = 63
	sessSteps    = 150
)

// session is one connection with the end under test, c, and the peer's accounts.
type session struct {
	t     testing.TB
	prog  []byte
	at    int
	trace []string
	log   *pairLog

	srv    *Server
	cli    *Client
	c      *Conn
	wire   *sessWire
	served chan struct{}
	zip    *compress.Codec
	conf   sessConf

	wild    string // why nothing is known any more
	doomed  string // why the connection has to be closed
	mayEnd  bool   // the connection may be closed
	closed  bool   // it is
	choked  bool   // the peer has not read for a while
	drained bool   // the end under test is shutting down, or was told bye
	late    bool   // time has passed

	// what the peer has opened
	ours     map[uint16]*ourCall
	pongs    map[uint16]func()
	nextSeq  uint16
	lastSeq  uint16
	tags     byte
	credit   int // for one-way messages
	taught   [maxLearned]string
	notes    map[string]int // messages that the handlers have to get
	answered int
	early    bool

	// what the end under test has opened
	theirs  map[uint16]*theirCall
	known   map[uint16]bool // sequences that it has used
	budget  int             // what it may send as one-way messages
	due     int
	learned map[byte]string
	local   []*localCall
	pushed  map[byte][]byte // what handlers push
	answers map[byte][]byte // what was answered to handlers

	mu    sync.Mutex
	gate  chan struct{}
	open  bool
	heard map[string]int // messages that handlers got
}

// sessConf is what the peer says in hello, and what the end under test compresses.
type sessConf struct {
	window, messages, frame, message, calls, codes int
	inflate                                        []string
	zip                                            ZipMethod
	policy                                         byte // when credit is returned
	tiny                                           bool // packets of few bytes
}

func (s *session) byte() byte {
	if s.at >= len(s.prog) {
		return 0
	}
	s.at++
	return s.prog[s.at-1]
}

// pick returns one of a list, as the program says.
func pick[T any](s *session, of ...T) T { return of[int(s.byte())%len(of)] }

// sessFailed unwinds a session that has failed.
type sessFailed struct{}

func (s *session) fail(format string, args ...any) {
	s.t.Helper()
	trace := s.trace
	if len(trace) > 400 {
		trace = trace[len(trace)-400:]
	}
	s.t.Errorf("%s\nprogram %q\n%s\nlog:\n%s", fmt.Sprintf(format, args...), s.prog, strings.Join(trace, "\n"), s.log)
	panic(sessFailed{})
}

func (s *session) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

// configure reads the beginning of the program.
func (s *session) configure() {
	f := &s.conf
	f.window = pick(s, 64<<10, 2048, 1024, 100, 66)
	f.messages = pick(s, 64<<10, 1024, 200)
	f.frame = pick(s, 64<<10, 1024, 200, 3, 1)
	f.message = pick(s, 4<<20, 2048)
	f.calls = pick(s, 100, 8, 2, 1)
	f.codes = pick(s, 126, 2, 0)
	f.inflate = pick(s, []string{"zstd", "flate"}, []string{"flate"}, nil)
	f.zip = pick(s, ZipNone, ZipFlate, ZipZstd)
	f.policy = s.byte() % 3
	f.tiny = f.window < 1024 || f.frame < 1024
}

func (f *sessConf) hello() string {
	b, _ := json.Marshal(map[string]any{
		"flyrpc": 2, "serializers": []string{"json"}, "inflate": f.inflate, "window": f.window, "messages": f.messages,
		"frame": f.frame, "message": f.message, "calls": f.calls, "codes": f.codes,
	})
	return string(b)
}

// runSession runs a program with a Server or a Client.
func runSession(t *testing.T, prog []byte, client bool) {
	s := &session{
		t: t, prog: prog, log: new(pairLog), zip: compress.New(compress.Fastest),
		ours: map[uint16]*ourCall{}, pongs: map[uint16]func(){}, notes: map[string]int{}, theirs: map[uint16]*theirCall{},
		known: map[uint16]bool{}, learned: map[byte]string{}, pushed: map[byte][]byte{}, answers: map[byte][]byte{},
		gate: make(chan struct{}), heard: map[string]int{}, credit: sessMessages,
	}
	s.configure()
	defer s.teardown()
	defer func() {
		if os.Getenv("FLYRPC_TRACE") != "" {
			t.Log(strings.Join(s.trace, "\n"))
		}
		if r := recover(); r != nil && r != any(sessFailed{}) {
			panic(r)
		}
	}()
	s.begin(client)
	for n := 0; s.at < len(s.prog) && n < sessSteps && !s.closed; n++ {
		s.step(client)
		s.bounded()
	}
	s.finish()
}

// begin connects the two ends and says hello.
func (s *session) begin(client bool) {
	near, far := transport.Pipe(nil)
	s.wire = newSessWire(near)
	z := Zip{Body: s.conf.zip, Code: s.conf.zip, MinBody: 64}
	if client {
		s.beginClient(far, z)
	} else {
		s.beginServer(far, z)
	}
	s.budget = s.conf.messages
}

func (s *session) beginServer(far *transport.MemConn, z Zip) {
	s.srv = NewServer(&ServerOpts{
		MaxCalls: sessCalls, StreamWindow: sessWindow, MessageWindow: sessMessages, MaxMessage: sessMessage,
		MaxFrame: sessFrame, MaxQueued: sessQueued, Zip: z, Logger: s.log.logger(),
	})
	s.handlers(s.srv)
	s.served = make(chan struct{})
	go func() { defer close(s.served); s.srv.ServeConn(far) }()
	s.send(Packet{Flag: FlagWait, Sequence: helloSequence, Code: helloPath, Payload: []byte(s.conf.hello())})
	synctest.Wait()
	p, rest, err := s.wire.first()
	if err != nil || p.Flag != FlagResponse || p.Sequence != helloSequence || p.Code != "" || rest != 0 {
		s.fail("hello was answered %+v, %v, and %d bytes followed", p, err, rest)
	}
	s.c = s.srv.Conns()[0]
}

func (s *session) beginClient(far *transport.MemConn, z Zip) {
	s.cli = NewClientConn(far, &ClientOpts{
		MaxCalls: sessCalls, StreamWindow: sessWindow, MessageWindow: sessMessages, MaxMessage: sessMessage,
		MaxFrame: sessFrame, MaxQueued: sessQueued, Zip: z, Logger: s.log.logger(),
	})
	s.handlers(s.cli)
	connected := make(chan error, 1)
	go func() { connected <- s.cli.Connect(s.t.Context()) }()
	synctest.Wait()
	if p, _, err := s.wire.first(); err != nil || p.Code != helloPath {
		s.fail("instead of hello came %+v, %v", p, err)
	}
	s.send(Packet{Flag: FlagResponse, Sequence: helloSequence, Payload: []byte(s.conf.hello())})
	if err := <-connected; err != nil {
		s.fail("hello: %v", err)
	}
	s.c = s.cli.Conn()
}

// finish has everything that is open come to its end, closes the connection and looks what is left.
func (s *session) finish() {
	s.wire.pause(false)
	s.release(true)
	s.note("finish")
	s.sync()
	if !s.closed && s.wild == "" && s.doomed == "" {
		for round := 0; ; round++ {
			if s.settle() == 0 || s.closed {
				break
			}
			if round > 60 {
				s.fail("still open: %s", s.left())
			}
			if round > 10 {
				time.Sleep(time.Second)
				s.late = true
			}
			s.sync()
		}
		if !s.closed {
			s.quiet()
		}
	}
	s.shut()
	s.checkLocals()
}

// shut closes the connection in one of the ways, and checks that everything ends.
func (s *session) shut() {
	s.cancelLocals()
	switch s.byte() % 3 {
	case 0:
		s.wire.close()
	case 1:
		if s.srv != nil {
			s.srv.Close()
		} else {
			s.cli.Close()
		}
	default:
		s.c.Close()
	}
	s.mayEnd = true
	synctest.Wait()
	select {
	case <-s.c.ended:
	default:
		s.fail("the reader goes on after the end of the connection")
	}
	if s.srv != nil {
		select {
		case <-s.served:
		default:
			s.fail("ServeConn goes on after the end of the connection")
		}
		if a, b := len(s.srv.all()), len(s.srv.Conns()); a+b > 0 {
			s.fail("the server has %d connections, %d open", a, b)
		}
	}
	if left := sessBooks(s.c); left != "" {
		s.fail("after the end of the connection: %s", left)
	}
}

// teardown ends all goroutines.
func (s *session) teardown() {
	s.release(true)
	s.cancelLocals()
	s.wire.close()
	if s.srv != nil {
		s.srv.Close()
	}
	if s.cli != nil {
		s.cli.Close()
	}
	synctest.Wait()
}

// sessBooks says what is left on the books of a connection.
func sessBooks(c *Conn) string {
	c.calls.mu.Lock()
	used, pings, abandoned, waiting := c.calls.used, c.calls.pings, c.calls.abandoned, len(c.calls.waiting)+c.calls.wanted
	if c.calls.closed { // what was given up stays open
		used -= abandoned
		abandoned = 0
		for _, s := range c.calls.slots {
			if s.isPing && s.state == slotAbandoned {
				pings--
			}
		}
	}
	c.calls.mu.Unlock()
	c.in.mu.Lock()
	open := len(c.in.open) + len(c.in.early) + len(c.in.held) + len(c.in.ordered) + c.in.nLoose
	c.in.mu.Unlock()
	count := c.in.count()
	if used+pings+abandoned+waiting+open+count == 0 {
		return ""
	}
	return fmt.Sprintf("%d calls, %d pings, %d abandoned, %d waiting, %d requests open, %d packets handled", used, pings, abandoned, waiting, open, count)
}

// quiet checks the end under test when nothing is open any more.
func (s *session) quiet() {
	if left := sessBooks(s.c); left != "" {
		s.fail("when all has ended: %s", left)
	}
	s.c.memory().mu.Lock()
	joins := s.c.memory().joins.Len()
	s.c.memory().mu.Unlock()
	if joins != 0 {
		s.fail("memory is set aside still for %d", joins)
	}
	if n := s.c.memory().inflating.credit.Left(); n != sessMessage {
		s.fail("of the memory for inflating %d of %d are left", n, sessMessage)
	}
	if n := len(s.c.halves); n != 0 || s.c.in.halves != 0 {
		s.fail("%d requests are half received, counted are %d", n, s.c.in.halves)
	}
	if 2*(sessMessages-s.credit) >= sessMessages {
		s.fail("of the credit for messages %d of %d are left", s.credit, sessMessages)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, n := range s.notes {
		if s.heard[text] != n {
			s.fail("message %.20q of %d bytes was sent %d times and handled %d times", text, len(text), n, s.heard[text])
		}
	}
	for text := range s.heard {
		if s.notes[text] == 0 {
			s.fail("a message %.20q of %d bytes was handled that nobody sent", text, len(text))
		}
	}
}

// bounded checks what the end under test holds.
func (s *session) bounded() {
	if s.closed {
		return
	}
	synctest.Wait()
	bytes := 0
	add := func(st *Stream) {
		st.in.mu.Lock()
		defer st.in.mu.Unlock()
		if n := st.in.part.got.n; n > sessWhole {
			s.fail("%d bytes of one message are joined", n)
		}
		bytes += st.in.part.got.n
		for _, it := range st.in.queue.list {
			bytes += int(it.n)
		}
	}
	select {
	case <-s.c.ended:
		return
	default:
	}
	for _, st := range s.c.halves {
		add(st)
	}
	s.c.in.mu.Lock()
	for _, in := range s.c.in.open {
		if in.items != nil {
			add(in.items)
		}
	}
	s.c.in.mu.Unlock()
	s.c.calls.mu.Lock()
	for _, sl := range s.c.calls.slots {
		if sl.stream != nil && sl.state != slotFree {
			add(sl.stream)
		}
	}
	s.c.calls.mu.Unlock()
	if most := (sessCalls+s.conf.calls)*sessWindow + sessWhole; bytes > most {
		s.fail("%d bytes are held, %d at most may be", bytes, most)
	}
	w := &s.c.proto.out
	w.mu.Lock()
	queued, own, ownN := w.queued, len(w.own), w.ownN
	w.mu.Unlock()
	if queued > sessQueued+sessMessage+64*sessFrame || ownN > maxOwn || own > maxOwn*(sessFrame+maxCodeLen)+(1<<10) {
		s.fail("%d bytes are queued, and %d answers of the reader in %d bytes", queued, ownN, own)
	}
}

// FuzzServerSession has a peer call, and be called by, a Server.
func FuzzServerSession(f *testing.F) {
	for _, seed := range sessSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, prog []byte) {
		synctest.Test(t, func(t *testing.T) { runSession(t, prog, false) })
	})
}

// FuzzClientSession has a peer be called by, and call, a Client.
func FuzzClientSession(f *testing.F) {
	for _, seed := range sessSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, prog []byte) {
		synctest.Test(t, func(t *testing.T) { runSession(t, prog, true) })
	})
}

// sessSeeds returns a program for each kind of step, and some of many steps.
func sessSeeds() [][]byte {
	var seeds [][]byte
	conf := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, o := range sessOps() {
		for args := byte(0); args < 3; args++ {
			p := append([]byte(nil), conf...)
			for range 3 {
				p = append(p, o.code, args, 3*args, 5, 7*args, 1, 2)
			}
			seeds = append(seeds, p)
		}
	}
	for i := range 20 {
		seeds = append(seeds, randomProgram(uint64(i), 300))
	}
	return seeds
}

// randomProgram returns a program of at most so many bytes.
func randomProgram(seed uint64, most int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, 16+r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if r.IntN(2) == 0 { // without narrow packets
		copy(b, []byte{b[0] % 3, b[1], b[2] % 2})
	}
	return b
}

// TestSessions runs random programs, as many of each kind as FLYRPC_SESSIONS says.
func TestSessions(t *testing.T) {
	n := 300
	if v, err := strconv.Atoi(os.Getenv("FLYRPC_SESSIONS")); err == nil {
		n = v
	}
	begin, _ := strconv.Atoi(os.Getenv("FLYRPC_SESSION"))
	var before, after runtime.MemStats
	for i := begin; i < begin+n && !t.Failed(); i++ {
		if i == begin+n/4 {
			readHeap(&before)
		}
		for _, client := range []bool{false, true} {
			prog := randomProgram(uint64(i), 700)
			synctest.Test(t, func(t *testing.T) { runSession(t, prog, client) })
			if t.Failed() {
				t.Fatalf("session %d, client %v", i, client)
			}
		}
	}
	readHeap(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("the heap has grown by %d bytes", grown)
	if n >= 100 && grown > 16<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// readHeap reads what is in use when pools have let go of what is idle.
func readHeap(m *runtime.MemStats) {
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(m)
}

// sessUvarint returns a number as credit frames have it.
func sessUvarint(n uint64) []byte { return binary.AppendUvarint(nil, n) }
