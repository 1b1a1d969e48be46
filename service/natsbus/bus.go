package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-flyrpc/flyrpc/service"
)

// headerRoom is what is left of a server's max payload for the headers of durable messages, in bytes.
const headerRoom = 1 << 10

// minPayload is the least that a Bus says a message may have, in bytes.
const minPayload = 1 << 10

// Bus is a service.Bus, a service.DurableBus and a service.Discoverable over a connection to NATS. All its methods may be
// called concurrently.
//
// While nats.go reconnects, what is published waits in its buffer, of 8 MiB unless nats.ReconnectBufSize says otherwise, and goes out
// when it has; beyond that Publish fails. What had been written before the connection was lost may be lost with it.
type Bus struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	opts Opts
	owns bool // Close closes nc
	gone chan struct{}

	mu     sync.Mutex
	closed bool
	subs   map[closer]struct{} // nil when closed
}

// closer is what a Bus closes with itself.
type closer interface{ Close() error }

// New returns a Bus over a connection that stays its caller's: Close lets go of the subscriptions alone. Several Buses may share a connection. It
// writes lone requests at once, as Connect's do, only if it was made with WriteAtOnce.
func New(nc *nats.Conn, opts *Opts) (*Bus, error) {
	if nc == nil {
		return nil, errors.New("natsbus: New needs a connection, and was given nil")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	b := &Bus{nc: nc, js: js, opts: opts.withDefaults(), gone: make(chan struct{}), subs: map[closer]struct{}{}}
	statuses := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	if nc.IsClosed() {
		nc.RemoveStatusListener(statuses)
		return nil, fmt.Errorf("natsbus: the connection is closed: %w", service.ErrBusClosed)
	}
	w := &watcher{b, statuses}
	b.subs[w] = struct{}{}
	go w.watch()
	return b, nil
}

// Connect connects to one of the servers of url, which may be several with commas between, and returns a Bus whose Close closes the
// connection. Options of nats.go say the rest, such as nats.Secure, nats.RootCAs, nats.UserCredentials and nats.ReconnectWait. Other than
// nats.go by itself, it never stops reconnecting, unless nats.MaxReconnects says so, and has the option WriteAtOnce.
func Connect(url string, opts *Opts, more ...nats.Option) (*Bus, error) {
	nc, err := nats.Connect(url, slices.Concat(opts.conn(), more, []nats.Option{WriteAtOnce()})...)
	if err != nil {
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	return own(nc, opts)
}

// conn are the options of a Bus's own connection.
func (o *Opts) conn() []nats.Option {
	log := o.withDefaults().Logger
	return []nats.Option{nats.MaxReconnects(-1), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if !errors.Is(err, nats.ErrSlowConsumer) { // which each subscription says by itself
			log.Warn("natsbus: an error of the connection", "error", err)
		}
	})}
}

// Bus returns a Bus over a connection of its own within the process.
func (s *Server) Bus(opts *Opts) (*Bus, error) {
	nc, err := s.Conn(opts.conn()...)
	if err != nil {
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	return own(nc, opts)
}

// own returns a Bus that closes its connection.
func own(nc *nats.Conn, opts *Opts) (*Bus, error) {
	b, err := New(nc, opts)
	if err != nil {
		nc.Close()
		return nil, err
	}
	b.owns = true
	return b, nil
}

// Conn returns the connection.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// Publish is that of service.Bus.
func (b *Bus) Publish(m *service.Message) error {
	if err := b.check(m); err != nil {
		return err
	}
	if m.Reply == "" {
		return known(b.nc.Publish(m.Subject, m.Data))
	}
	return known(b.nc.PublishRequest(m.Subject, m.Reply, m.Data))
}

// check looks at a message before it is published.
func (b *Bus) check(m *service.Message) error {
	if err := service.CheckSubject(m.Subject, false); err != nil {
		return err
	}
	if m.Reply != "" {
		if err := service.CheckSubject(m.Reply, false); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
	}
	if most := b.MaxPayload(); len(m.Data) > most {
		return fmt.Errorf("%w: it has %d bytes, at most %d are possible", service.ErrTooLarge, len(m.Data), most)
	}
	return b.alive()
}

// alive returns ErrBusClosed when the Bus is closed.
func (b *Bus) alive() error {
	select {
	case <-b.gone:
		return service.ErrBusClosed
	default:
		return nil
	}
}

// known turns an error of nats.go into one of package service, where it has one.
func known(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: %w", service.ErrBusClosed, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", service.ErrTooLarge, err)
	}
	return fmt.Errorf("natsbus: %w", err)
}

// MaxPayload is that of service.Bus: what the server allows, less 1 KiB for the headers of durable messages.
func (b *Bus) MaxPayload() int {
	return max(int(b.nc.MaxPayload())-headerRoom, minPayload)
}

// Flush is that of service.Bus. In a cluster, what was subscribed is known to the server of this connection then; it tells the others, which
// takes them as long as a message takes from one to the other.
func (b *Bus) Flush(ctx context.Context) error {
	if err := b.alive(); err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok { // nats.go insists on one
		limited, cancel := context.WithTimeout(ctx, b.opts.SendTimeout)
		defer cancel()
		ctx = limited
	}
	return known(b.nc.FlushWithContext(ctx))
}

// Close is that of service.Bus. The connection is closed too if the Bus has made it; what was published before goes out first.
func (b *Bus) Close() error {
	b.mu.Lock()
	subs := b.subs
	first := !b.closed
	b.closed, b.subs = true, nil
	b.mu.Unlock()
	if !first {
		return nil
	}
	close(b.gone)
	for s := range subs {
		_ = s.Close() // the broker learns it from the connection's end, or has gone
	}
	if b.owns {
		b.nc.Close() // which flushes
	}
	return nil
}

// remove forgets what was closed.
func (b *Bus) remove(c closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, c)
}

// watcher says in the log what becomes of the connection.
type watcher struct {
	bus      *Bus
	statuses chan nats.Status
}

func (w *watcher) watch() {
	log := w.bus.opts.Logger
	for status := range w.statuses {
		switch status {
		case nats.CONNECTED:
			log.Info("natsbus: connected again", "server", w.bus.nc.ConnectedUrlRedacted())
		case nats.RECONNECTING:
			log.Warn("natsbus: the connection is lost, reconnecting", "error", w.bus.nc.LastError())
		case nats.CLOSED:
			_ = w.bus.Close()
		}
	}
}

// Close ends watch.
func (w *watcher) Close() error {
	w.bus.nc.RemoveStatusListener(w.statuses)
	return nil
}
