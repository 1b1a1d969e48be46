package natsbus

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-flyrpc/flyrpc/service"
)

// embedded starts a server for one test.
func embedded(t *testing.T, opts *EmbeddedOpts) *Server {
	t.Helper()
	s, err := Embedded(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// connTo returns a connection for one test.
func connTo(t *testing.T, s *Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := s.Conn(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// connected returns an instance of a service, over a Bus with a connection of its own.
func connected(t *testing.T, s *Server, name string) (*service.Service, *Bus) {
	t.Helper()
	bus, err := Connect(s.URL(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	svc := service.New(name, bus, nil)
	t.Cleanup(func() {
		svc.Close()
		bus.Close()
	})
	return svc, bus
}

func TestEmbeddedInProcess(t *testing.T) {
	s := embedded(t, nil)
	if s.URL() != "" {
		t.Errorf("URL is %q without Listen", s.URL())
	}
	if addr := s.srv.Addr(); addr != nil {
		t.Errorf("it listens on %v", addr)
	}
	nc := connTo(t, s)
	if _, err := nc.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	m, err := nc.Request("echo", []byte("hello"), 5*time.Second)
	if err != nil || string(m.Data) != "hello" {
		t.Errorf("got %v, %v", m, err)
	}
	if nc.MaxPayload() != DefaultMaxPayload {
		t.Errorf("MaxPayload is %d", nc.MaxPayload())
	}
	if err := nc.Publish("echo", make([]byte, DefaultMaxPayload+1)); err == nil {
		t.Error("a message over MaxPayload was sent")
	}
}

func TestEmbeddedListens(t *testing.T) {
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0", User: "ada", Password: "secret", MaxConns: 1})
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") || strings.Contains(s.URL(), "secret") {
		t.Fatalf("URL is %q", s.URL())
	}
	if _, err := nats.Connect(s.URL()); err == nil {
		t.Error("who has no password was let in")
	}
	eventually(t, "end of that connection at the server", func(context.Context) bool { return s.srv.NumClients() == 0 })
	nc := connTo(t, s) // within the process it is known
	if !nc.IsConnected() {
		t.Error("not connected")
	}
	if _, err := nats.Connect(s.URL(), nats.UserInfo("ada", "secret")); err == nil {
		t.Error("more than MaxConns were let in")
	}
}

func TestEmbeddedKeepsItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	opts := &EmbeddedOpts{JetStream: true, Dir: dir, SyncAlways: true}
	for i := range 2 {
		s := embedded(t, opts)
		js, err := jetstream.New(connTo(t, s))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "jobs", Subjects: []string{"jobs"}})
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil || info.State.Msgs != uint64(i) {
			t.Errorf("run %d finds %v, %v", i, info, err)
		}
		if _, err := js.Publish(t.Context(), "jobs", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEmbeddedRemovesItsTemporaryFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := embedded(t, &EmbeddedOpts{JetStream: true})
	if _, err := os.Stat(s.temp); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts EmbeddedOpts
		want string
	}{
		{"everybody", EmbeddedOpts{Listen: "0.0.0.0:4222"}, "no loopback address"},
		{"a name", EmbeddedOpts{Listen: "example.org:4222"}, "no loopback address"},
		{"no port", EmbeddedOpts{Listen: "127.0.0.1"}, "no host:port"},
		{"a wrong port", EmbeddedOpts{Listen: "127.0.0.1:70000"}, "0 to 65,535"},
		{"a taken port", EmbeddedOpts{Listen: taken.Addr().String()}, "address already in use"},
		{"a file for a folder", EmbeddedOpts{JetStream: true, Dir: file}, "JetStream"},
		{"a cluster without a name", EmbeddedOpts{Cluster: &ClusterOpts{Listen: "127.0.0.1:0"}}, "Name is missing"},
		{"a cluster for everybody", EmbeddedOpts{Cluster: &ClusterOpts{Name: "c", Listen: ":0"}}, "ClusterOpts.Listen"},
		{"a route to elsewhere", EmbeddedOpts{Cluster: &ClusterOpts{Name: "c", Listen: "127.0.0.1:0", Routes: []string{"10.0.0.1:1"}}}, "ClusterOpts.Routes"},
		{"an impossible name", EmbeddedOpts{Name: "a b"}, "options"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Embedded(&tt.opts)
			if err == nil {
				s.Close()
				t.Fatal("it was started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

// lockedBuffer takes a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestEmbeddedLogs(t *testing.T) {
	var all, few lockedBuffer
	for buffer, level := range map[*lockedBuffer]slog.Level{&all: slog.LevelDebug, &few: slog.LevelWarn} {
		s := embedded(t, &EmbeddedOpts{Name: "ada", Logger: slog.New(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: level}))})
		connTo(t, s).Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(all.String(), "level=INFO msg=\"nats-server:   Name:     ada") || !strings.Contains(all.String(), "level=DEBUG") {
		t.Errorf("logged %s", &all)
	}
	if few.String() != "" {
		t.Errorf("logged %s", &few)
	}
}
