package natsbus

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// The service that is tested, and its subjects.
const (
	workerName = "worker"
	newsOf     = "news"
	taskOf     = "task"
	askOf      = "ask"
	jobOf      = "job"
)

// instanceConfig is what an instance is told.
type instanceConfig struct{ URL, Name, File string }

// answered is what an instance answers.
type answered struct{ ID, Instance string }

// runInstance is the role of an instance: it writes down what it handles before it says that it has.
func runInstance(config []byte, ready func(any), stop <-chan struct{}) error {
	var c instanceConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	bus, err := Connect(c.URL, clusterOpts(), clusterConn()...)
	if err != nil {
		return err
	}
	defer bus.Close()
	file, err := os.OpenFile(c.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	svc := service.New(workerName, bus, nil)
	defer svc.Close()
	w := &worker{instance: c.Name, file: file}
	if err := w.bind(svc); err != nil {
		return err
	}
	if err := bus.Flush(context.Background()); err != nil {
		return err
	}
	ready(c.Name)
	<-stop
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return svc.Shutdown(ctx)
}

// worker handles messages and writes them down.
type worker struct {
	instance string
	mu       sync.Mutex
	file     *os.File
}

func (w *worker) bind(svc *service.Service) error {
	if err := svc.Bind(newsOf).To(func(id string) error { return w.note(kindBroadcast, id) }); err != nil {
		return err
	}
	if err := svc.QueueBind(taskOf).To(func(id string) error { return w.note(kindQueue, id) }); err != nil {
		return err
	}
	if err := svc.QueueBind(askOf).To(func(id string) (answered, error) {
		return answered{id, w.instance}, w.note(kindRequest, id)
	}); err != nil {
		return err
	}
	return svc.QueueBind(jobOf, service.Durable(&service.DurableOpts{AckWait: 3 * time.Second, Backoff: 100 * time.Millisecond, Tries: 50})).To(
		func(id string) error {
			if rand.IntN(20) == 0 {
				return flyrpc.Errorf(flyrpc.Busy, "not now")
			}
			return w.note(kindDurable, id)
		})
}

// note writes an event in one write, which survives that the process is killed.
func (w *worker) note(kind, id string) error {
	line, err := json.Marshal(event{kind, id, w.instance})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.file.Write(append(line, '\n'))
	return err
}
