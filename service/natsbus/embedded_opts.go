package natsbus

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The defaults of EmbeddedOpts.
const (
	DefaultMaxPayload   = 1 << 20   // bytes
	DefaultMaxConns     = 1024      // connections
	DefaultMaxPending   = 64 << 20  // bytes
	DefaultMaxMemory    = 256 << 20 // bytes
	DefaultMaxStore     = 4 << 30   // bytes
	DefaultStartTimeout = 10 * time.Second
)

// EmbeddedOpts are the options of a nats-server inside the process. nil and the zero value mean the
// defaults: a server that only this process can reach, without JetStream, that logs nothing.
type EmbeddedOpts struct {
	// Name is the server's name, which a cluster's servers must not share. Default: one that nats-server makes up.
	Name string
	// Listen is the address for clients of other processes, host:port, with port 0 for a free one. The host has to be a
	// loopback address: what others shall reach is a nats-server of its own. Default: none.
	Listen string
	// User and Password are what clients have to say. Default: none. Conn and Bus say them by themselves.
	User, Password string
	// JetStream keeps messages, which durable bindings need.
	JetStream bool
	// Dir is the folder where JetStream keeps its data. It is made if it is missing, and one server at a time may use it. Default: a
	// temporary folder, which Close removes.
	Dir string
	// SyncAlways has JetStream write each message through to the disk before it is acknowledged, which takes milliseconds. Without it, that happens
	// every two minutes: what was acknowledged survives the end of the process, however it comes, but in a cluster of one server not that of the machine.
	SyncAlways bool
	// MaxPayload is the largest message in bytes. Default 1 MiB. Larger ones of package service go in chunks.
	MaxPayload int
	// MaxConns is the number of clients' connections. Default 1,024.
	MaxConns int
	// MaxPending is the number of bytes that may wait for one client that doesn't read. A client with more is
	// cut. Default 64 MiB.
	MaxPending int
	// MaxMemory and MaxStore are the bytes that JetStream may hold in memory and in Dir. Default 256 MiB and
	// 4 GiB. Beyond that, what is sent is refused, and so are stores, which count with their MaxBytes from the beginning.
	MaxMemory, MaxStore int64
	// StartTimeout is how long Embedded waits for the server to accept connections. Default 10 s.
	StartTimeout time.Duration
	// Cluster joins the server with others. Default: it is alone.
	Cluster *ClusterOpts
	// Logger takes the server's log. nil: it logs nothing.
	Logger *slog.Logger
}

// ClusterOpts join embedded servers to a cluster, all on one machine: for tests of what happens when one of them fails. JetStream is ready
// when most of them have found each other, for which Embedded doesn't wait.
type ClusterOpts struct {
	// Name is the cluster's name, the same for all of its servers. It has to be given.
	Name string
	// Listen is the address for the other servers, host:port, of loopback.
	Listen string
	// Routes are the addresses of the other servers, host:port. Servers don't tell each other of further ones, so each has to know all.
	Routes []string
}

// withDefaults returns a copy of o with its zeros replaced.
func (o *EmbeddedOpts) withDefaults() EmbeddedOpts {
	var c EmbeddedOpts
	if o != nil {
		c = *o
	}
	setDefault(&c.MaxPayload, DefaultMaxPayload)
	setDefault(&c.MaxConns, DefaultMaxConns)
	setDefault(&c.MaxPending, DefaultMaxPending)
	setDefault(&c.MaxMemory, DefaultMaxMemory)
	setDefault(&c.MaxStore, DefaultMaxStore)
	setDefault(&c.StartTimeout, DefaultStartTimeout)
	c.MaxPayload = min(c.MaxPayload, math.MaxInt32, c.MaxPending)
	return c
}

// setDefault gives *v its default if it is zero or less.
func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// server returns the options of the nats-server. dir is JetStream's folder.
func (o *EmbeddedOpts) server(dir string) (*server.Options, error) {
	so := &server.Options{
		ServerName: o.Name,
		Host:       "127.0.0.1", // what it would listen on, and what it calls itself
		DontListen: o.Listen == "",
		NoSigs:     true,
		Username:   o.User,
		Password:   o.Password,
		MaxPayload: int32(o.MaxPayload),
		MaxConn:    o.MaxConns,
		MaxPending: int64(o.MaxPending),

		JetStream:              o.JetStream,
		StoreDir:               dir,
		JetStreamMaxMemory:     o.MaxMemory,
		JetStreamMaxStore:      o.MaxStore,
		SyncAlways:             o.SyncAlways,
		DisableJetStreamBanner: true,
	}
	if o.Listen != "" {
		var err error
		if so.Host, so.Port, err = loopback("EmbeddedOpts.Listen", o.Listen); err != nil {
			return nil, err
		}
	}
	if o.Cluster != nil {
		if err := o.Cluster.server(so); err != nil {
			return nil, err
		}
	}
	return so, nil
}

// server adds the cluster to the options of the nats-server.
func (c *ClusterOpts) server(so *server.Options) error {
	if c.Name == "" {
		return errors.New("natsbus: ClusterOpts.Name is missing: all servers of a cluster have the same")
	}
	host, port, err := loopback("ClusterOpts.Listen", c.Listen)
	if err != nil {
		return err
	}
	so.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: port, NoAdvertise: true, PingInterval: routePing,
		Advertise: nowhere, // where servers that hear of this one from others would look for it
	}
	for _, route := range c.Routes {
		if _, _, err := loopback("ClusterOpts.Routes", route); err != nil {
			return err
		}
		so.Routes = append(so.Routes, &url.URL{Scheme: "nats", Host: route})
	}
	return nil
}

const (
	// nowhere is an address at which nobody listens.
	nowhere = "127.0.0.1:1"
	// routePing is how often servers ask each other whether they are there. Two questions without an answer end a connection.
	routePing = 2 * time.Second
)

// loopback takes an address of loopback apart. A port of 0 becomes nats-server's number for a free one.
func loopback(option, addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("natsbus: %s: %q is no host:port: %w", option, addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("natsbus: %s: %q is no loopback address: an embedded server is for its own machine, "+
			"and a nats-server of its own for others", option, addr)
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > math.MaxUint16 {
		return "", 0, fmt.Errorf("natsbus: %s: %q has no port from 0 to 65,535", option, addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}
