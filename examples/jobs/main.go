// Command jobs shows durable work: jobs are kept by a NATS server, which runs in this program, until a worker has said that they are done.
// Workers are processes of their own. The first one is killed amid a job; nothing is lost, and another one does it all.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/natsbus"
)

// jobs is how many there are.
const jobs = 20

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if len(os.Args) > 2 && os.Args[1] == workArg {
		err = work(os.Args[2], os.Stdin)
	} else {
		err = run(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run starts the server, and the office on it.
func run(ctx context.Context) error {
	server, err := natsbus.Embedded(&natsbus.EmbeddedOpts{Listen: "localhost:0", JetStream: true})
	if err != nil {
		return err
	}
	defer server.Close()
	bus, err := server.Bus(nil)
	if err != nil {
		return err
	}
	defer bus.Close()
	svc := service.New("office", bus, nil)
	defer svc.Close()
	o := &office{url: server.URL(), finished: make(chan struct{}), killed: make(chan string, 1), begun: map[string]int{}, done: map[string]bool{}}
	if err := o.bind(svc); err != nil {
		return err
	}
	return o.employ(ctx, svc)
}

// employ has the jobs done.
func (o *office) employ(ctx context.Context, svc *service.Service) error {
	first, err := o.hire()
	if err != nil {
		return err
	}
	o.setVictim(first)
	defer first.kill()
	for i := range jobs {
		id := fmt.Sprint("job ", i+1)
		// The id makes it safe to send it again, should the broker's acknowledgement be lost.
		if err := svc.Service("worker").SendDurable(ctx, "paint", id, id); err != nil {
			return err
		}
	}
	fmt.Println(jobs, "jobs are kept by the broker")
	select {
	case job := <-o.killed:
		fmt.Printf("the first worker has begun with %s, and is killed\n", job)
	case <-ctx.Done():
		return fmt.Errorf("nobody works: %w", ctx.Err())
	}
	second, err := o.hire()
	if err != nil {
		return err
	}
	defer second.kill()
	select {
	case <-o.finished:
	case <-ctx.Done():
		return fmt.Errorf("not all jobs were done: %w", ctx.Err())
	}
	o.report()
	return errors.Join(second.leave(), svc.Shutdown(ctx))
}
