// Command services runs three services in one program, on a NATS server that runs in it too: boards, each of which shows
// what is announced; cooks, who share what is ordered; and an archive, from which a file is streamed. Nothing
// would change in them if each ran on a machine of its own.
package main

import (
	"context"
	"errors"
	"log"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/natsbus"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run starts the server and the services, and has a customer use them.
func run(ctx context.Context) error {
	server, err := natsbus.Embedded(nil)
	if err != nil {
		return err
	}
	defer server.Close()
	r := restaurant{server: server}
	err = r.open()
	if err == nil {
		err = r.visit(ctx)
	}
	return errors.Join(err, r.close(ctx))
}

// restaurant is all that runs: each instance of a service has a connection of its own, as it would have in a process of its own.
type restaurant struct {
	server    *natsbus.Server
	buses     []*natsbus.Bus
	instances []*service.Service
	shown     chan string
}

// open starts two boards, three cooks and the archive.
func (r *restaurant) open() error {
	r.shown = make(chan string, 16)
	for _, name := range []string{"board at the door", "board in the hall"} {
		svc, err := r.instance("board")
		if err != nil {
			return err
		}
		if err := board(svc, name, r.shown); err != nil {
			return err
		}
	}
	for range 3 {
		svc, err := r.instance("kitchen")
		if err != nil {
			return err
		}
		if err := cook(svc); err != nil {
			return err
		}
	}
	svc, err := r.instance("archive")
	if err != nil {
		return err
	}
	return archive(svc)
}

// instance returns an instance of a service.
func (r *restaurant) instance(name string) (*service.Service, error) {
	bus, err := r.server.Bus(nil)
	if err != nil {
		return nil, err
	}
	svc := service.New(name, bus, nil)
	r.buses, r.instances = append(r.buses, bus), append(r.instances, svc)
	return svc, nil
}

// close ends the instances, each of which finishes what it has begun.
func (r *restaurant) close(ctx context.Context) error {
	var errs []error
	for i, svc := range r.instances {
		errs = append(errs, svc.Shutdown(ctx), r.buses[i].Close())
	}
	return errors.Join(errs...)
}
