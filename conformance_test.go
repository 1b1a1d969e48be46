package flyrpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/wiretest"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
)

// conformanceTime bounds one scenario.
const conformanceTime = 30 * time.Second

// TestConformanceServer plays the dialling side of the scenarios against a Server.
func TestConformanceServer(t *testing.T) {
	addr := conformanceServer(t)
	for _, s := range conformanceScenarios(t, wiretest.Dialling) {
		t.Run(s.Section+"/"+s.Name, func(t *testing.T) {
			if err := playServer(addr, s); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConformanceClient plays the accepting side of the scenarios against Clients.
func TestConformanceClient(t *testing.T) {
	l := conformanceListener(t)
	for _, s := range conformanceScenarios(t, wiretest.Accepting) {
		t.Run(s.Section+"/"+s.Name, func(t *testing.T) {
			if err := playClient(l, s); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConformanceMutations changes each byte that the scenarios of the first four sections expect, one at a time:
// then they must fail. Of those with large bodies a sample is changed.
func TestConformanceMutations(t *testing.T) {
	addr, l := conformanceServer(t), conformanceListener(t)
	plays := map[wiretest.Side]func(wiretest.Scenario) error{
		wiretest.Dialling:  func(s wiretest.Scenario) error { return playServer(addr, s) },
		wiretest.Accepting: func(s wiretest.Scenario) error { return playClient(l, s) },
	}
	played := 0
	for side, play := range plays {
		for _, s := range conformanceScenarios(t, side) {
			if s.Section > "4" {
				continue
			}
			step := 1 + s.Expected()/80
			for i := 0; i < s.Expected(); i += step {
				played++
				if err := play(s.Mutate(i)); err == nil || errors.Is(err, wiretest.ErrNotOffered) {
					t.Errorf("%s, as %s: expected byte %d was changed, and nothing failed: %v", s.Name, side, i, err)
				}
			}
		}
	}
	if played < 1000 {
		t.Errorf("%d bytes were changed, that's too few", played)
	}
}

// conformanceScenarios returns the scenarios that a side can play.
func conformanceScenarios(t *testing.T, side wiretest.Side) []wiretest.Scenario {
	t.Helper()
	all, err := wiretest.Load(os.DirFS("testdata/wire/scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	var list []wiretest.Scenario
	for _, s := range all {
		if s.Plays(side) {
			list = append(list, s)
		}
	}
	return list
}

// conformanceListener listens on a port of its own.
func conformanceListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// conformanceServer serves the conformance program and returns its address.
func conformanceServer(t *testing.T) string {
	t.Helper()
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		NoHTTP: true, NoCommands: true,
		Serializers: []serializer.Serializer{jsonser.Serializer},
		Logger:      slog.New(slog.DiscardHandler),
	})
	registerConformance(srv.Router)
	l := conformanceListener(t)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return l.Addr().String()
}

// playServer plays a scenario against a server.
func playServer(addr string, s wiretest.Scenario) error {
	ctx, cancel := context.WithTimeout(context.Background(), conformanceTime)
	defer cancel()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return wiretest.Play(ctx, conn, s, wiretest.Dialling)
}

// playClient plays a scenario against a client that connects for it.
func playClient(l net.Listener, s wiretest.Scenario) error {
	ctx, cancel := context.WithTimeout(context.Background(), conformanceTime)
	defer cancel()
	cli := flyrpc.NewClient(l.Addr().String(), &flyrpc.ClientOpts{
		Serializer: jsonser.Serializer, Logger: slog.New(slog.DiscardHandler),
	})
	registerConformance(cli.Router)
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		_ = cli.Connect(ctx) // the scenario tells whether it could
	}()
	conn, err := l.Accept()
	if err == nil {
		err = wiretest.Play(ctx, conn, s, wiretest.Accepting)
	}
	cancel()
	cli.Close()
	<-connected
	return err
}

// registerConformance registers the conformance program; testdata/wire/scenarios/README.md describes it.
func registerConformance(r *flyrpc.Router) {
	r.OnMessage("/echo", echoAsCame)
	r.OnMessage("/fail", func(text string) error { return flyrpc.Errorf(flyrpc.Conflict, "%s", text) })
	r.OnMessage("/wait", func(ctx *flyrpc.Context) error {
		<-ctx.Done()
		return flyrpc.Errorf(flyrpc.Canceled, "stopped")
	})
	r.OnMessage("/big", func(n int) []byte { return bytes.Repeat([]byte("x"), n) })
	r.OnMessage("/size", func(b []byte) int { return len(b) })
	r.OnMessage("/note", func(ctx *flyrpc.Context) { notesOf(ctx).add() })
	r.OnMessage("/noted", func(ctx *flyrpc.Context, n int) (int, error) { return n, notesOf(ctx).await(ctx, n) })
	r.OnMessage("/do", func(ctx *flyrpc.Context, d *doMessage) (*doAnswer, error) { return d.run(ctx) })
	registerStreams(r)
}

// echoAsCame answers with the message, as raw as it came.
func echoAsCame(ctx *flyrpc.Context) (any, error) {
	p := ctx.Packet()
	kind, raw := "", false
	for e, err := range flyrpc.ParseMeta(p.Meta) {
		if err != nil {
			return nil, err
		}
		if e.ID == flyrpc.MetaSerializer {
			kind, raw = string(e.Value), true
		}
	}
	switch {
	case raw && kind == "t":
		return string(p.Payload), nil
	case raw && kind == "", ctx.Conn().PeerInfo().Version == 1:
		return p.Payload, nil
	case len(p.Payload) == 0:
		return nil, nil
	}
	return json.RawMessage(p.Payload), nil
}

// notes counts the notes of a connection.
type notes struct {
	mu    sync.Mutex
	n     int
	added chan struct{} // closed, and made anew, with each note
}

// notesKey is where a connection keeps its notes.
type notesKey struct{}

// notesMu is held while a connection's notes are looked for.
var notesMu sync.Mutex

// notesOf returns the notes of a handler's connection.
func notesOf(ctx *flyrpc.Context) *notes {
	notesMu.Lock()
	defer notesMu.Unlock()
	n, ok := ctx.Conn().Value(notesKey{}).(*notes)
	if !ok {
		n = &notes{added: make(chan struct{})}
		ctx.Conn().SetValue(notesKey{}, n)
	}
	return n
}

func (n *notes) add() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.n++
	close(n.added)
	n.added = make(chan struct{})
}

// await waits until there are want notes.
func (n *notes) await(ctx context.Context, want int) error {
	for {
		n.mu.Lock()
		have, added := n.n, n.added
		n.mu.Unlock()
		if have >= want {
			return nil
		}
		select {
		case <-added:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// doMessage is the message of /do.
type doMessage struct {
	How     string            `json:"how"`
	Path    string            `json:"path"`
	Message json.RawMessage   `json:"message"`
	Items   []json.RawMessage `json:"items"`
}

// doAnswer is what /do answers.
type doAnswer struct {
	Reply   json.RawMessage   `json:"reply,omitempty"`
	Size    *int              `json:"size,omitempty"`
	Items   []json.RawMessage `json:"items,omitzero"`
	Error   string            `json:"error,omitempty"`
	Message string            `json:"message,omitempty"`
}

// message returns what is sent.
func (d *doMessage) message() any {
	if len(d.Message) == 0 {
		return nil
	}
	return d.Message
}

// run calls the other end.
func (d *doMessage) run(ctx *flyrpc.Context) (*doAnswer, error) {
	a := new(doAnswer)
	switch d.How {
	case "call", "large":
		message := d.message()
		if d.How == "large" {
			var n int
			if err := json.Unmarshal(d.Message, &n); err != nil {
				return nil, err
			}
			message = bytes.Repeat([]byte("y"), n)
		}
		reply := json.RawMessage("null")
		if a.fails(ctx.Call(d.Path, message, &reply)) {
			return a, nil
		}
		a.Reply = reply
	case "bytes":
		var b []byte
		if !a.fails(ctx.Call(d.Path, d.message(), &b)) {
			n := len(b)
			a.Size = &n
		}
	case "send":
		a.fails(ctx.SendMessage(d.Path, d.message()))
	default:
		return a, d.stream(ctx, a)
	}
	return a, nil
}

// fails reports whether err is one, and puts it into the answer.
func (a *doAnswer) fails(err error) bool {
	var e *flyrpc.Error
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return false
	case errors.As(err, &e):
		a.Error, a.Message = string(e.Code), e.Message
	default:
		a.Error, a.Message = string(flyrpc.Failed), err.Error()
	}
	return true
}
