package transport

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// fake serves any schemes and only reports what it was asked for.
type fake struct {
	schemes []string
	name    string
}

var errFake = errors.New("fake")

func (f *fake) Schemes() []string { return f.schemes }

func (f *fake) Dial(_ context.Context, u *url.URL) (net.Conn, error) {
	return nil, &net.OpError{Op: f.name + " dial " + u.Host, Err: errFake}
}

func (f *fake) Listen(_ context.Context, u *url.URL) (net.Listener, error) {
	return nil, &net.OpError{Op: f.name + " listen " + u.Host, Err: errFake}
}

func TestTableSchemes(t *testing.T) {
	for _, c := range []struct {
		extra []Transport
		want  []string
	}{
		{nil, []string{"ipc", "tcp", "udp", "unix"}},
		{[]Transport{NewMem()}, []string{"ipc", "mem", "tcp", "udp", "unix"}},
		{[]Transport{&fake{schemes: []string{"ws", "wss"}}, NewMem()}, []string{"ipc", "mem", "tcp", "udp", "unix", "ws", "wss"}},
	} {
		table, err := NewTable(c.extra...)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.Schemes(); !slices.Equal(got, c.want) {
			t.Errorf("schemes %v, want %v", got, c.want)
		}
	}
}

func TestTableReplacesBuiltin(t *testing.T) {
	table, err := NewTable(&fake{[]string{"tcp"}, "mine"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = table.Dial(t.Context(), "localhost:7000")
	if !errors.Is(err, errFake) || !strings.Contains(err.Error(), "mine dial localhost:7000") {
		t.Errorf("dial: %v", err)
	}
	_, err = table.Listen(t.Context(), "tcp://:7000")
	if !errors.Is(err, errFake) || !strings.Contains(err.Error(), "mine listen :7000") {
		t.Errorf("listen: %v", err)
	}
}

func TestNewTableErrors(t *testing.T) {
	for _, c := range []struct {
		says  string
		extra []Transport
	}{
		{"transport 1 is nil", []Transport{NewMem(), nil}},
		{`"mem" is given twice, by *transport.Mem and by *transport.fake`, []Transport{NewMem(), &fake{schemes: []string{"mem"}}}},
		{`"a" is given twice, by *transport.fake and by *transport.fake`, []Transport{&fake{schemes: []string{"a", "a"}}}},
		{"*transport.fake names no scheme", []Transport{&fake{}}},
		{`the scheme ""`, []Transport{&fake{schemes: []string{""}}}},
		{`the scheme "WS"`, []Transport{&fake{schemes: []string{"WS"}}}},
		{`the scheme "a b"`, []Transport{&fake{schemes: []string{"a b"}}}},
		{`the scheme "ws://x"`, []Transport{&fake{schemes: []string{"ws://x"}}}},
	} {
		_, err := NewTable(c.extra...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v doesn't say %q", err, c.says)
		}
	}
}

func TestTableAddrErrors(t *testing.T) {
	table, err := NewTable(&fake{schemes: []string{"ws"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ addr, says string }{
		{"", "it is empty"},
		{"mem://x", `unknown scheme "mem" (known: ipc, tcp, udp, unix, ws); put a transport.NewMem() into Transports`},
		{"tls://x:1", `put a transport.TLS with a Config into Transports`},
		{"quic://u:secret@x", `unknown scheme "quic" (known: ipc, tcp, udp, unix, ws); put a Transport that serves it into Transports`},
		{"tcp://localhost", "it has no port"},
		{"tcp://localhost:", "it has no port"},
		{"tcp://localhost:65536", `port "65536" is no number`},
		{"tcp://localhost:7000/x", `a tcp address takes no path; remove "/x"`},
		{"tcp://localhost:7000/", `a tcp address takes no path; remove "/"`},
		{"tcp://localhost:7000?x=1", "takes no query"},
		{"tcp://localhost:7000?", "takes no query"},
		{"tcp://localhost:7000#x", "takes no fragment"},
		{"tcp://me:secret@localhost:7000", "takes no user or password"},
	} {
		_, err := table.Dial(t.Context(), c.addr)
		wantAddrError(t, c.addr, err, c.says)
		_, err = table.Listen(t.Context(), c.addr)
		wantAddrError(t, c.addr, err, c.says)
	}
}

func TestOnlyHostOpaque(t *testing.T) {
	_, err := TCP{}.Dial(t.Context(), &url.URL{Scheme: "tcp", Opaque: "localhost:7000"})
	wantAddrError(t, "opaque", err, `has "://" after its scheme`)
}
