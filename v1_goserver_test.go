package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// TestV1GoServerHandshake has a client meet the old Go server, which doesn't know hello.
func TestV1GoServerHandshake(t *testing.T) {
	t.Run("NOT_FOUND means version 1", func(t *testing.T) {
		cli, p := v1Dial(t, nil, notFound)
		if v := cli.Conn().PeerInfo(); v.Version != 1 || v.Serializer != "json" {
			t.Errorf("the peer is %+v", v)
		}
		p.request(4711, "/alive", "1")
		p.wantAnswer(4711, "1")
	})
	for _, payload := range []string{"null", "{}", `{"flyrpc":1}`, "[2]", "2", `{"flyrpc":2`} {
		t.Run("the answer "+payload+" means version 1", func(t *testing.T) {
			cli, p := v1Dial(t, nil, func(p *v1Peer) error {
				seq, err := p.readHello()
				p.answer(seq, "", payload)
				return err
			})
			if v := cli.Conn().PeerInfo().Version; v != 1 {
				t.Errorf("the version is %d", v)
			}
			p.wantLife()
		})
	}
	t.Run("OnConnect pushes before anything was said", func(t *testing.T) {
		notes := make(chan string, 10)
		l, p, cli := v1PushyServer(t, notes)
		if err := cli.Connect(v1Context(t)); err != nil {
			t.Fatal(err)
		}
		seq := <-l
		for i := range 3 {
			if got := within(t, notes); got != fmt.Sprint("push ", i) {
				t.Errorf("push %d is %q", i, got)
			}
			p.wantAnswer(uint16(i), "null") // the Go server sends its messages with WAIT
		}
		reply := cli.Go(v1Context(t), "/sum", []int{1, 2}, new(int))
		call := p.wantRequest("/sum", "[1,2]")
		p.answer(seq, "NOT_FOUND", "") // hello's answer comes now
		p.answer(call, "", "3")
		if err := reply.Err(); err != nil {
			t.Error(err)
		}
		p.wantLife()
	})
	t.Run("RequireHello refuses the answer NOT_FOUND", func(t *testing.T) {
		_, p, err := v1TryDial(t, &ClientOpts{RequireHello: true}, notFound)
		wantErr(t, err, Unavailable, NotSent)
		wantText(t, err.Error(), "version 1", "RequireHello")
		p.wantEnd()
	})
	t.Run("RequireHello refuses a push", func(t *testing.T) {
		_, p, err := v1TryDial(t, &ClientOpts{RequireHello: true}, func(p *v1Peer) error {
			_, err := p.readHello()
			p.request(1, "/note", "push")
			return err
		})
		wantErr(t, err, Unavailable, NotSent)
		wantText(t, err.Error(), "version 1", "RequireHello")
		p.wantEnd()
	})
	t.Run("CheckPeer sees version 1", func(t *testing.T) {
		check := func(p PeerInfo) error {
			if p.Version < 2 {
				return errors.New("too old")
			}
			return nil
		}
		_, p, err := v1TryDial(t, &ClientOpts{CheckPeer: check}, notFound)
		if err == nil {
			t.Fatal("CheckPeer was not asked")
		}
		wantText(t, err.Error(), "CheckPeer", "too old")
		p.wantEnd()
	})
}

// v1PushyServer returns a client and a server that pushes three messages when it is
// connected to. Hello's sequence comes by the channel.
func v1PushyServer(t *testing.T, notes chan<- string) (hello <-chan uint16, p *v1Peer, cli *Client) {
	cli, w := clientWire(t, nil)
	cli.OnMessage("/note", func(s string) { notes <- s }, Ordered)
	cli.OnMessage("/alive", alive)
	p = newV1Peer(t, w.conn)
	seq := make(chan uint16, 1)
	for i := range 3 {
		p.request(uint16(i), "/note", fmt.Sprint("push ", i))
	}
	go func() {
		n, err := p.readHello()
		if err != nil {
			t.Error(err)
		}
		seq <- n
	}()
	return seq, p, cli
}

// TestV1GoServer has a client call the old Go server.
func TestV1GoServer(t *testing.T) {
	t.Run("answers to messages are dropped", func(t *testing.T) {
		cli, p := v1Dial(t, nil, notFound)
		if err := cli.SendMessage(v1Context(t), "/note", "hi"); err != nil {
			t.Fatal(err)
		}
		p.wantMessage("/note", "hi")
		p.answer(0, "NOT_FOUND", "")
		p.answer(0, "HANDLER_PANIC", "index out of range")
		p.answer(0, "no such user", "")
		p.answer(0, "", "null")
		p.wantLife()
		n := cli.Go(v1Context(t), "/n", nil, nil)
		seq := p.wantRequest("/n", "null")
		p.answer(0, "NOT_FOUND", "")
		p.answer(seq, "", "null")
		if err := n.Err(); err != nil {
			t.Errorf("the answer to a message reached a call: %v", err)
		}
	})
	t.Run("an answer that nobody waits for is dropped", func(t *testing.T) {
		_, p := v1Dial(t, nil, notFound)
		for _, seq := range []uint16{0, 1, 2, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF} {
			p.answer(seq, "", "null")
		}
		p.wantLife()
	})
	t.Run("a nil message is null", func(t *testing.T) {
		cli, p := v1Dial(t, nil, notFound)
		for _, message := range []any{nil, (*v1User)(nil), map[string]int(nil)} {
			call := cli.Go(v1Context(t), "/nil", message, nil)
			p.answer(p.wantRequest("/nil", "null"), "", "null")
			if err := call.Err(); err != nil {
				t.Error(err)
			}
			if err := cli.SendMessage(v1Context(t), "/nil", message); err != nil {
				t.Error(err)
			}
			p.wantMessage("/nil", "null")
		}
	})
	t.Run("its messages repeat sequences and wrap through 0", func(t *testing.T) {
		_, p := v1Dial(t, nil, notFound)
		for _, seq := range []uint16{65535, 0, 1, 1, 1} {
			p.request(seq, "/alive", "7")
			p.wantAnswer(seq, "7")
		}
	})
	t.Run("bodies", v1ClientBodies)
	t.Run("codes", v1ClientCodes)
	t.Run("the serializer is chosen", v1ClientSerializer)
}

func v1ClientBodies(t *testing.T) {
	cli, p := v1Dial(t, nil, notFound)
	for _, c := range []struct {
		name          string
		message       any
		sent, answer  string
		reply, want   any
		emptyExpected bool
	}{
		{"bytes", []byte("\x00\""), "\x00\"", "\xFF\x00", new([]byte), "\xFF\x00", false},
		{"text", `"a`, `"a`, `b"`, new(string), `b"`, false},
		{"struct", v1User{1, "Ada"}, `{"id":1,"name":"Ada"}`, `{"id":2,"name":"Bob"}`, new(v1User), v1User{2, "Bob"}, false},
		{"an empty answer leaves the zero value", 1, "1", "", new(v1User), v1User{}, false},
		{"any", 1, "1", `"x"`, new(any), "x", false},
		{"empty bytes of the application", []byte{}, "", "1", new(int), 1, true},
		{"empty text of the application", "", "", "1", new(int), 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t, p.empty = t, c.emptyExpected
			call := cli.Go(v1Context(t), "/x", c.message, c.reply)
			p.answer(p.wantRequest("/x", c.sent), "", c.answer)
			if err := call.Err(); err != nil {
				t.Fatal(err)
			}
			var got any
			switch r := c.reply.(type) {
			case *[]byte:
				got = string(*r)
			case *string:
				got = *r
			case *v1User:
				got = *r
			case *any:
				got = *r
			case *int:
				got = *r
			}
			if got != c.want {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
		})
	}
}

// v1ClientCodes checks what the codes on the wire become.
func v1ClientCodes(t *testing.T) {
	gone := errors.New("gone")
	cli, p := v1Dial(t, &ClientOpts{Errors: map[Code]error{"user is gone": gone}}, notFound)
	long := strings.Repeat("x", 4096)
	for code, is := range map[string]error{
		"TIMEOUT": Timeout, "NOT_FOUND": NotFound, "BUFF_TOO_LONG": TooLong, "HANDLER_PANIC": HandlerPanic,
		"NO_WRITER": Code("NO_WRITER"), "WRITER_CLOSED": Code("WRITER_CLOSED"), "NOT_PROTOBUF_MESSAGE": Code("NOT_PROTOBUF_MESSAGE"),
		"user is gone": gone, "no such user: 7 (ä)": Code("no such user: 7 (ä)"), long: Code(long),
	} {
		for _, message := range []string{"", "the details"} {
			t.Run(fmt.Sprintf("%.30s with payload %q", code, message), func(t *testing.T) {
				p.t = t
				call := cli.Go(v1Context(t), "/fail", 1, nil)
				p.answer(p.wantRequest("/fail", "1"), code, message)
				err := call.Err()
				var e *Error
				if !errors.As(err, &e) || e.Code != Code(code) || e.Message != message || !e.Remote() || Outcome(err) != Answered {
					t.Fatalf("got %#v", err)
				}
				if !errors.Is(err, is) {
					t.Errorf("%v is no %v", err, is)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is the local deadline", err)
				}
				wantText(t, err.Error(), code, message)
			})
		}
	}
}

func v1ClientSerializer(t *testing.T) {
	for name, opts := range map[string]*ClientOpts{
		"V1Serializer": {V1Serializer: msgpack.Serializer},
		"Serializer":   {Serializer: msgpack.Serializer},
	} {
		t.Run(name, func(t *testing.T) {
			cli, p := v1Dial(t, opts, notFound)
			call := cli.Go(v1Context(t), "/x", []int{1, 2}, nil)
			p.answer(p.wantRequest("/x", "\x92\x01\x02"), "", "\xC0")
			if err := call.Err(); err != nil {
				t.Error(err)
			}
			call = cli.Go(v1Context(t), "/nil", nil, nil)
			p.answer(p.wantRequest("/nil", "\xC0"), "", "\xC0")
			if err := call.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("one without a null", func(t *testing.T) {
		cli, p := v1Dial(t, &ClientOpts{V1Serializer: protobuf.Serializer}, notFound)
		p.empty = true
		cli.OnMessage("/nothing", func() error { return nil })
		cli.OnMessage("/nil", func() *wrapperspb.StringValue { return nil })
		p.request(1, "/nothing", "")
		p.wantAnswer(1, "")
		p.request(2, "/nil", "")
		p.wantAnswer(2, "")
		call := cli.Go(v1Context(t), "/x", nil, nil)
		p.answer(p.wantRequest("/x", ""), "", "")
		if err := call.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestV1LostAnswers has the old Go server lose answers, or send them too late.
func TestV1LostAnswers(t *testing.T) {
	t.Run("the call ends with its context and frees its slot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cli, p := v1ClientPipe(t, &ClientOpts{MaxCalls: 1})
			seen := map[uint16]bool{}
			for i := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				begin := time.Now()
				err := cli.Call(ctx, "/lost", i, nil)
				cancel()
				wantErr(t, err, Timeout, Unknown)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
					t.Fatalf("call %d ended after %v with %v", i, time.Since(begin), err)
				}
				seq := p.wantRequest("/lost", fmt.Sprint(i)) // and no cancellation stands between
				if seen[seq] {
					t.Fatalf("sequence %d was used twice", seq)
				}
				seen[seq] = true
			}
			if n := cli.Conn().calls.count(); n != 0 {
				t.Errorf("%d calls are open", n)
			}
		})
	})
	t.Run("a late answer reaches no other call", func(t *testing.T) {
		cli, p := v1ClientPipe(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		first := cli.Go(ctx, "/first", 1, new(string))
		late := p.wantRequest("/first", "1")
		cancel()
		wantErr(t, first.Err(), Canceled, Unknown)
		replies := make([]string, 50)
		var calls []*Pending
		var seqs []uint16
		for i := range replies {
			calls = append(calls, cli.Go(v1Context(t), "/next", i, &replies[i]))
			seqs = append(seqs, p.wantRequest("/next", fmt.Sprint(i)))
		}
		p.answer(late, "", "late")
		p.answer(late, "NOT_FOUND", "late")
		for i, seq := range seqs {
			p.answer(seq, "", fmt.Sprint("own ", i))
			p.answer(seq, "", "again") // its writer has no lock: who knows
			if err := calls[i].Err(); err != nil || replies[i] != fmt.Sprint("own ", i) {
				t.Errorf("call %d got %q, %v", i, replies[i], err)
			}
		}
		p.wantLife()
	})
	t.Run("its sequence is used again last", func(t *testing.T) {
		var table callTable
		table.onFree = func() {}
		table.begin(2, true)
		lost, _, _ := table.acquire(t.Context())
		seq := lost.seq
		table.abandon(lost)
		for i := range maxOpenCalls + maxPings {
			s, _, err := table.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s.seq == seq || s == lost && i < maxOpenCalls+maxPings-1 {
				t.Fatalf("the slot is used again after %d calls", i)
			}
			if s, _ := table.claim(seq); s != nil {
				t.Fatal("a late answer reaches a call")
			}
			table.abandon(s)
		}
	})
	t.Run("a pong that doesn't come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cli, p := v1ClientPipe(t, nil)
			for range 2 * maxPings {
				if _, err := cli.Conn().Ping(0, time.Second); !errors.Is(err, Timeout) {
					t.Fatal(err)
				}
				p.recv()
			}
			done := make(chan error, 1)
			go func() {
				_, err := cli.Conn().Ping(0, time.Second)
				done <- err
			}()
			p.answer(p.recv().seq, "NOT_FOUND", "")
			if err := within(t, done); err != nil {
				t.Errorf("NOT_FOUND is no pong: %v", err)
			}
		})
	})
}
