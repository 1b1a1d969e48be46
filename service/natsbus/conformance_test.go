package natsbus

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/bustest"
)

// busOn returns a Bus of a server for one test.
func busOn(t testing.TB, s *Server, opts *Opts) *Bus {
	t.Helper()
	b, err := s.Bus(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := embedded(t, &EmbeddedOpts{JetStream: true})
	bustest.Run(t, bustest.Config{Patience: 10 * time.Second, Ends: func(t testing.TB) (a, b service.Bus) {
		return busOn(t, s, quiet()), busOn(t, s, quiet())
	}})
}

// Over a socket, on connections that belong to the test, without JetStream.
func TestConformanceOfConns(t *testing.T) {
	t.Parallel()
	s := embedded(t, &EmbeddedOpts{Listen: "localhost:0"})
	bustest.Run(t, bustest.Config{Patience: 10 * time.Second, Ends: func(t testing.TB) (a, b service.Bus) {
		var ends [2]service.Bus
		for i := range ends {
			nc, err := nats.Connect(s.URL(), quiet().conn()...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			b, err := New(nc, quiet())
			if err != nil {
				t.Fatal(err)
			}
			ends[i] = struct{ service.Bus }{b} // without what needs JetStream
		}
		return ends[0], ends[1]
	}})
}

// quiet are options that keep a test's log short.
func quiet() *Opts { return &Opts{Logger: slog.New(slog.DiscardHandler)} }
