package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/natsbus"
)

// workArg is the argument by which this program is a worker, of the broker that the next argument names.
const workArg = "work"

// work does jobs until its input ends.
func work(url string, until io.Reader) error {
	bus, err := natsbus.Connect(url, nil)
	if err != nil {
		return err
	}
	defer bus.Close()
	svc := service.New("worker", bus, nil)
	office := svc.Service("office")
	err = svc.QueueBind("paint", service.Durable(&service.DurableOpts{
		Concurrent: 1,           // a worker has two hands and one brush
		AckWait:    time.Second, // after which a job is given to another, if its worker has vanished
	})).To(func(ctx *flyrpc.Context, job string) error {
		if err := office.Request(ctx, "begun", job).Into(nil); err != nil {
			return err // the job comes again
		}
		return office.Request(ctx, "done", job).Into(nil)
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, until)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return svc.Shutdown(ctx) // finishes the job at hand
}

// worker is a process that works.
type worker struct {
	cmd *exec.Cmd
	in  io.Closer
	end func() error
}

// hire starts a worker, and returns when it is ready.
func (o *office) hire() (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, workArg, o.url)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &worker{cmd, in, sync.OnceValue(cmd.Wait)}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		w.kill()
		return nil, fmt.Errorf("a worker doesn't start: %w", err)
	}
	return w, nil
}

// kill ends the worker by SIGKILL, whatever it does.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.end()
}

// leave lets it finish what it does.
func (w *worker) leave() error {
	w.in.Close()
	return w.end()
}
