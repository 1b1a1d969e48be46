package natsbus

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a nats-server inside the process. All its methods may be called concurrently.
type Server struct {
	srv   *server.Server
	opts  EmbeddedOpts
	temp  string // the folder that Close removes, "" for none
	close func() error
}

// Embedded starts a nats-server inside the process and returns when it accepts connections. It installs no signal handlers,
// and only listens where the options say so, on loopback.
func Embedded(opts *EmbeddedOpts) (*Server, error) {
	s := &Server{opts: opts.withDefaults()}
	s.close = sync.OnceValue(s.shutdown)
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	if err := s.start(dir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// folder returns where JetStream keeps its data.
func (s *Server) folder() (string, error) {
	if !s.opts.JetStream || s.opts.Dir != "" {
		return s.opts.Dir, nil
	}
	dir, err := os.MkdirTemp("", "natsbus")
	if err != nil {
		return "", fmt.Errorf("natsbus: a temporary folder for JetStream: %w", err)
	}
	s.temp = dir
	return dir, nil
}

// start has the server run.
func (s *Server) start(dir string) error {
	so, err := s.opts.server(dir)
	if err != nil {
		return err
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return fmt.Errorf("natsbus: the embedded server's options: %w", err)
	}
	s.srv = srv
	log := &serverLog{logger: s.opts.Logger}
	srv.SetLoggerV2(log, log.debugs(), false, false)
	srv.Start()
	if fatal := log.fatal(); fatal != "" {
		return fmt.Errorf("natsbus: the embedded server doesn't start: %s", fatal)
	}
	if !srv.ReadyForConnections(s.opts.StartTimeout) {
		return fmt.Errorf("natsbus: the embedded server isn't ready after %v: give it a Logger to find out why", s.opts.StartTimeout)
	}
	return nil
}

// URL returns the address for clients of other processes, such as nats://127.0.0.1:4222, without user and password. It is "" without
// EmbeddedOpts.Listen.
func (s *Server) URL() string {
	if s.opts.Listen == "" {
		return ""
	}
	return s.srv.ClientURL()
}

// Conn returns a connection within the process, with nats.go's options. It belongs to the caller.
func (s *Server) Conn(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append(s.options(), opts...)...)
}

// options are what a client in the process needs.
func (s *Server) options() []nats.Option {
	opts := []nats.Option{nats.InProcessServer(s.srv)}
	if s.opts.User != "" || s.opts.Password != "" {
		opts = append(opts, nats.UserInfo(s.opts.User, s.opts.Password))
	}
	return opts
}

// Close stops the server at once, cuts its connections and waits until its goroutines have ended. What JetStream has
// acknowledged stays in Dir. Close may be called any number of times; the error is that of removing the temporary folder.
func (s *Server) Close() error { return s.close() }

// shutdown does what Close says, once.
func (s *Server) shutdown() error {
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}
	if s.temp == "" {
		return nil
	}
	return os.RemoveAll(s.temp)
}
