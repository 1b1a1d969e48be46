package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/command"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/transport"
)

var bg = context.Background()

// newProcessor returns a Processor that the test closes, and that is silent unless opts say otherwise.
func newProcessor(t testing.TB, opts *command.Options) *command.Processor {
	var o command.Options
	if opts != nil {
		o = *opts
	}
	if o.Server.Logger == nil {
		o.Server.Logger = slog.New(slog.DiscardHandler)
	}
	p := command.New(&o)
	t.Cleanup(func() { p.Close() })
	return p
}

// connect returns the ends of a connection between two Processors.
func connect(t testing.TB, a, b *command.Processor) (*command.Conn, *command.Conn) {
	t.Helper()
	near, far := transport.Pipe(nil)
	x, err := a.Connect(near)
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Connect(far)
	if err != nil {
		t.Fatal(err)
	}
	return x, y
}

type sum struct{ A, B int }

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newProcessor(t, nil), newProcessor(t, nil)
		for _, p := range []*command.Processor{a, b} {
			p.On("add", func(s sum) int { return s.A + s.B })
			p.On("text", func(s string) string { return s + "!" })
			p.On("/item/{id}", func(c *flyrpc.Context) string { return c.Param("id") })
			p.OnMessage("plain", func(b []byte) []byte { return b })
		}
		x, y := connect(t, a, b)
		for _, c := range []*command.Conn{x, y} { // either end calls the other
			var n int
			var s, id string
			var raw []byte
			err := errors.Join(
				c.Call(bg, "add", sum{1, 2}, &n), c.Call(bg, "text", "a", &s), c.Call(bg, "/item/7", nil, &id),
				c.Call(bg, "plain", []byte{0xff}, &raw), c.Call(bg, "text", "dropped", nil))
			if err != nil || n != 3 || s != "a!" || id != "7" || !bytes.Equal(raw, []byte{0xff}) {
				t.Errorf("got %d, %q, %q, %x, %v", n, s, id, raw, err)
			}
			now, err := c.Time(bg)
			if err != nil || !now.Equal(time.Now().Truncate(time.Millisecond)) {
				t.Errorf("Time: %v, %v", now, err)
			}
			if _, err := c.Ping(0, time.Second); err != nil {
				t.Error(err)
			}
		}
		if got := a.Counts(); got["add"] != (command.Counts{Success: 1}) || got["text"].Success != 2 || len(got) != 3 {
			t.Errorf("counts: %+v", got)
		}
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		coded := errors.New("coded")
		errs := map[flyrpc.Code]error{"CODED": coded}
		a := newProcessor(t, &command.Options{Server: flyrpc.ServerOpts{Errors: errs}})
		b := newProcessor(t, &command.Options{Server: flyrpc.ServerOpts{Errors: errs, Logger: slog.New(slog.NewTextHandler(&log, nil))}})
		b.On("error", func() error { return flyrpc.Errorf(flyrpc.Forbidden, "not you").WithDetails([]int{7}) })
		b.On("coded", func() error { return fmt.Errorf("wrapped: %w", coded) })
		b.On("plain", func() error { return errors.New("out of order") })
		b.On("panic", func() { panic("secret") })
		x, _ := connect(t, a, b)
		for action, want := range map[string]string{
			"error": "error: FORBIDDEN: not you", "coded": "coded: CODED: wrapped: coded", "unknown": `unknown: NOT_FOUND: no handler for "unknown"`,
			"plain": "plain: exception: ERROR: out of order", "panic": "panic: exception: HANDLER_PANIC: the handler panicked",
		} {
			err := x.Call(bg, action, nil, nil)
			var e *command.Error
			var ex *command.Exception
			if err == nil || err.Error() != want || errors.As(err, &ex) != strings.Contains(want, "exception") || errors.As(err, &e) == errors.As(err, &ex) {
				t.Errorf("%s: got %T %v", action, err, err)
			}
			if e != nil && (e.Action != action || !strings.Contains(want, e.Kind+": "+e.Message)) {
				t.Errorf("%s: got %+v", action, e)
			}
		}
		err := x.Call(bg, "error", nil, nil)
		var details []int
		var fe *flyrpc.Error
		if !errors.Is(err, flyrpc.Forbidden) || !errors.As(err, &fe) || fe.DecodeDetails(&details) != nil || len(details) != 1 {
			t.Errorf("got %v, with %v", err, details)
		}
		if !errors.Is(x.Call(bg, "coded", nil, nil), coded) {
			t.Error("the program's own error doesn't match")
		}
		if got := flyrpc.Outcome(x.Call(bg, "unknown", nil, nil)); got != flyrpc.NotProcessed {
			t.Errorf("outcome %v", got)
		}
		got := b.Counts()
		if got["error"].Errors != 2 || got["coded"].Errors != 2 || got["plain"].Exceptions != 1 || got["panic"] != (command.Counts{Exceptions: 1}) {
			t.Errorf("counts: %+v", got)
		}
		for _, want := range []string{`msg="command: exception" action=plain`, "out of order", "secret"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %q: %s", want, log.String())
			}
		}
		if strings.Contains(log.String(), "not you") {
			t.Errorf("an error for the caller is logged: %s", log.String())
		}
	})
}

// Errors that no peer has answered stay what they are.
func TestOwnFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newProcessor(t, nil), newProcessor(t, nil)
		b.On("wait", func(c *flyrpc.Context) { <-c.Done() })
		x, _ := connect(t, a, b)
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		var e *command.Error
		if err := x.Call(ctx, "wait", nil, nil); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
			t.Errorf("got %v", err)
		}
		x.Close()
		if err := x.Call(bg, "wait", nil, nil); !errors.Is(err, flyrpc.Unavailable) || errors.As(err, &e) {
			t.Errorf("got %v", err)
		}
		if err := x.Fire(bg, "wait", nil); !errors.Is(err, flyrpc.Unavailable) {
			t.Errorf("got %v", err)
		}
	})
}

// The handlers of an action run in order, until one fails.
func TestHandlersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newProcessor(t, nil), newProcessor(t, nil)
		var ran []string
		step := func(name string) func() { return func() { ran = append(ran, name) } }
		b.On("x", step("1"), func(n int) error {
			if n == 0 {
				return flyrpc.BadRequest
			}
			return nil
		}, func() string { ran = append(ran, "2"); return "not the last" })
		b.On("x", step("3"), func(n int) int { return n + 1 })
		x, _ := connect(t, a, b)
		var n int
		if err := x.Call(bg, "x", 1, &n); err != nil || n != 2 || strings.Join(ran, "") != "123" {
			t.Errorf("got %d, %v, ran %v", n, err, ran)
		}
		ran = nil
		if err := x.Call(bg, "x", 0, &n); !errors.Is(err, flyrpc.BadRequest) || strings.Join(ran, "") != "1" {
			t.Errorf("got %v, ran %v", err, ran)
		}
		if got := b.Counts()["x"]; got != (command.Counts{Success: 1, Errors: 1}) {
			t.Errorf("counts: %+v", got)
		}
	})
}

func TestOnPanics(t *testing.T) {
	p := newProcessor(t, nil)
	p.On("a", func() {})
	p.OnMessage("b", func() {})
	for name, f := range map[string]func(){
		`command: On("x"): there is no handler`: func() { p.On("x") },
		`command_test.go`:                       func() { p.On("x", func() {}, 7) },
		`takes or sends items`:                  func() { p.On("x", func(io.Reader) {}) },
		`flyrpc: OnMessage("b"`:                 func() { p.On("b", func() {}) },
		`the path is empty`:                     func() { p.On("", func() {}) },
	} {
		func() {
			defer func() {
				if r := recover(); !strings.Contains(fmt.Sprint(r), name) {
					t.Errorf("got %v, want %s", r, name)
				}
			}()
			f()
		}()
	}
	if n := len(p.Counts()); n != 1 {
		t.Errorf("%d actions", n)
	}
}

func TestFireAndBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newProcessor(t, nil)
		var conns []*flyrpc.Conn
		hub.OnConnect(func(c *flyrpc.Context) error { conns = append(conns, c.Conn()); return nil })
		got := make(chan string, 10)
		var ends []*command.Conn
		for i := range 3 {
			p := newProcessor(t, nil)
			p.On("note", func(s string) error { got <- fmt.Sprint(i, s); return errors.New("which nobody waits for") })
			x, _ := connect(t, p, hub)
			ends = append(ends, x)
			synctest.Wait()
		}
		if err := hub.Broadcast("note", "all"); err != nil || len(conns) != 3 {
			t.Errorf("%v, %d connections", err, len(conns))
		}
		if err := command.Of(conns[1]).Fire(bg, "note", "one"); err != nil {
			t.Error(err)
		}
		seen := map[string]bool{}
		for range 4 {
			seen[<-got] = true
		}
		if !seen["0all"] || !seen["1all"] || !seen["2all"] || !seen["1one"] {
			t.Errorf("got %v", seen)
		}
		ends[0].Close()
		synctest.Wait()
		if n := len(hub.Conns()); n != 2 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// A FlyRPC server, with credentials, is reached by Dial over each transport.
func TestDial(t *testing.T) {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		Logger: slog.New(slog.DiscardHandler),
		Auth: func(_ context.Context, c *flyrpc.Credentials) (any, error) {
			var cr struct{ Token string }
			if err := c.Decode(&cr); err != nil || cr.Token != "right" {
				return nil, errors.Join(errors.New("wrong token"), err)
			}
			return "me", nil
		},
	})
	defer srv.Close()
	srv.OnMessage("who", func(c *flyrpc.Context) string { return c.Conn().Identity().(string) })
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = srv.Serve(l) }()
		p := newProcessor(t, nil)
		dial := func() *command.Conn {
			c, err := p.Dial(t.Context(), network+"://"+l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := dial()
		if err := c.Authenticate(t.Context(), map[string]string{"token": "right"}); err != nil {
			t.Error(err)
		}
		var who string
		if err := c.Call(t.Context(), "who", nil, &who); err != nil || who != "me" {
			t.Errorf("got %q, %v", who, err)
		}
		if err := dial().Authenticate(t.Context(), map[string]string{"token": "wrong"}); !errors.Is(err, flyrpc.Unauthenticated) {
			t.Errorf("got %v", err)
		}
		if err := dial().Call(t.Context(), "who", nil, nil); !errors.Is(err, flyrpc.Unauthenticated) {
			t.Errorf("got %v", err)
		}
	}
	p := newProcessor(t, nil)
	for _, addr := range []string{"nosuch://x", "unix://" + filepath.Join(t.TempDir(), "none")} {
		if _, err := p.Dial(t.Context(), addr); err == nil || !strings.HasPrefix(err.Error(), "command: ") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	bad := newProcessor(t, &command.Options{Transports: []transport.Transport{nil}})
	if _, err := bad.Dial(t.Context(), "x:1"); err == nil {
		t.Error("a transport that is nil")
	}
}

func TestClosedProcessor(t *testing.T) {
	p := newProcessor(t, nil)
	p.Close()
	near, far := transport.Pipe(nil)
	defer far.Close()
	if _, err := p.Connect(near); !errors.Is(err, flyrpc.Unavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection was not closed: %v", err)
	}
	one := newProcessor(t, &command.Options{Server: flyrpc.ServerOpts{MaxConns: 1}})
	connect(t, one, newProcessor(t, nil))
	near, far = transport.Pipe(nil)
	defer far.Close()
	if _, err := one.Connect(near); !errors.Is(err, flyrpc.Busy) {
		t.Errorf("got %v", err)
	}
}

// A child process is a peer like any other.
func TestChild(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	nc, err := transport.StartChild(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newProcessor(t, nil)
	started := make(chan int, 1)
	p.On("started", func(pid int) { started <- pid })
	p.On("suffix", func() string { return "-suffix" })
	conn, err := p.Connect(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got string
	if err := conn.Call(ctx, "upper", "text", &got); err != nil || got != "text-suffix" {
		t.Errorf("got %q, %v", got, err)
	}
	if pid := <-started; pid != cmd.Process.Pid {
		t.Errorf("process %d has started, not %d", pid, cmd.Process.Pid)
	}
	conn.Close()
	<-conn.Done()
}

// textPipe is a connection of messages.
type textPipe struct {
	net.Conn // for what else a connection has
	in, out  chan []byte
	once     *sync.Once
	done     chan struct{}
}

func newTextPipe() (a, b *textPipe) {
	near, far := transport.Pipe(nil)
	x, y, done, once := make(chan []byte), make(chan []byte), make(chan struct{}), new(sync.Once)
	return &textPipe{near, x, y, once, done}, &textPipe{far, y, x, once, done}
}

func (p *textPipe) ReadText() ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-p.done:
		return nil, io.EOF
	}
}

func (p *textPipe) WriteText(b []byte) error {
	select {
	case p.out <- bytes.Clone(b):
		return nil
	case <-p.done:
		return net.ErrClosed
	}
}

func (p *textPipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.Conn.Close()
}

// packed is a codec of another kind.
type packed struct{ serializer.Serializer }

type packedCommand struct {
	A    string
	K, B []byte
}

func (p packed) Bodies() serializer.Serializer { return p.Serializer }

func (p packed) Parse(data []byte) (command.Command, error) {
	var c packedCommand
	err := p.Decode(data, &c)
	return command.Command{Action: c.A, Key: c.K, Body: c.B}, err
}

func (p packed) Append(dst []byte, c *command.Command) ([]byte, error) {
	return p.Encode(dst, packedCommand{c.Action, c.Key, c.Body})
}

// Text messages, and a codec that isn't JSON.
func TestMessagesAndCodec(t *testing.T) {
	for name, codec := range map[string]command.Codec{"JSON": nil, "MessagePack": packed{msgpack.Serializer}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := &command.Options{Codec: codec}
				a, b := newProcessor(t, opts), newProcessor(t, opts)
				b.On("add", func(s sum) int { return s.A + s.B })
				b.On("bytes", func(b []byte) []byte { return b })
				b.On("error", func() error { return flyrpc.Errorf(flyrpc.Forbidden, "not you").WithDetails("why") })
				near, far := newTextPipe()
				x, err := a.Connect(near)
				if err != nil {
					t.Fatal(err)
				}
				y, err := b.Connect(far)
				if err != nil {
					t.Fatal(err)
				}
				var n int
				if err := x.Call(bg, "add", sum{1, 2}, &n); err != nil || n != 3 {
					t.Errorf("got %d, %v", n, err)
				}
				var raw []byte
				if err := x.Call(bg, "bytes", []byte{0, 0xff}, &raw); err != nil || !bytes.Equal(raw, []byte{0, 0xff}) {
					t.Errorf("got %x, %v", raw, err)
				}
				err = x.Call(bg, "error", nil, nil)
				var e *command.Error
				if !errors.As(err, &e) || e.Kind != "FORBIDDEN" || e.Message != "not you" {
					t.Errorf("got %v", err)
				}
				x.Close()
				<-y.Done()
			})
		})
	}
}

// syncBuffer is a buffer that may be written and read concurrently.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The faults of a peer that speaks packets are told apart by their codes.
func TestOfPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newProcessor(t, nil)
		srv.On("plain", func() error { return errors.New("out of order") })
		srv.On("error", func() error { return flyrpc.Forbidden })
		near, far := transport.Pipe(nil)
		go srv.ServeConn(far)
		cli := flyrpc.NewClientConn(near, nil)
		defer cli.Close()
		if err := cli.Connect(bg); err != nil {
			t.Fatal(err)
		}
		c := command.Of(cli.Conn())
		var e *command.Error
		var ex *command.Exception
		if err := c.Call(bg, "plain", nil, nil); !errors.As(err, &ex) || ex.Kind != "ERROR" {
			t.Errorf("got %v", err)
		}
		if err := c.Call(bg, "error", nil, nil); !errors.As(err, &e) || e.Kind != "FORBIDDEN" {
			t.Errorf("got %v", err)
		}
	})
}
