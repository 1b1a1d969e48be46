package main

import (
	"fmt"
	"sync"

	"github.com/go-flyrpc/flyrpc/service"
)

// office is told by workers what they do, and kills one of them.
type office struct {
	url      string
	killed   chan string   // the job that the killed one had begun with
	finished chan struct{} // closed when all jobs are done

	mu     sync.Mutex
	victim *worker
	begun  map[string]int
	done   map[string]bool
}

func (o *office) bind(svc *service.Service) error {
	if err := svc.QueueBind("begun").To(o.onBegun); err != nil {
		return err
	}
	return svc.QueueBind("done").To(o.onDone)
}

func (o *office) setVictim(w *worker) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.victim = w
}

// onBegun kills the first worker as soon as that has begun with something.
func (o *office) onBegun(job string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begun[job]++
	if o.victim != nil {
		o.victim.kill()
		o.victim = nil
		o.killed <- job
	}
}

// onDone may be told twice of a job: a worker may end after it has done one, and before the broker knows.
func (o *office) onDone(job string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done[job] {
		return
	}
	o.done[job] = true
	if len(o.done) == jobs {
		close(o.finished)
	}
}

func (o *office) report() {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Println(len(o.done), "jobs are done")
	for job, n := range o.begun {
		if n > 1 {
			fmt.Println(job, "was begun by both")
		}
	}
}
