package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taskFunc is a Task made of a function.
type taskFunc func(*Worker)

func (f taskFunc) Run(w *Worker) { f(w) }

func TestTasksRunConcurrently(t *testing.T) {
	var p Pool
	defer p.Close()
	const n = 100
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		// Each task ends only when all have begun.
		p.Go(taskFunc(func(*Worker) { all.Done(); all.Wait() }))
	}
	all.Wait()
}

func TestLastIdleFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		a, b := p.Get(), p.Get()
		a.Start(taskFunc(func(*Worker) {}))
		synctest.Wait()
		b.Start(taskFunc(func(*Worker) {}))
		synctest.Wait()
		if w := p.Get(); w != b {
			t.Error("the worker that went idle last is not the first to be used")
		} else {
			w.Start(taskFunc(func(*Worker) {}))
		}
		synctest.Wait()
	})
}

func TestIdleWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		before := runtime.NumGoroutine()
		gate := make(chan struct{})
		for range 50 {
			p.Go(taskFunc(func(*Worker) { <-gate }))
		}
		close(gate)
		synctest.Wait()
		time.Sleep(3*trimEvery + time.Second)
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines are left of %d", n, before)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.trim != nil {
			t.Error("the timer goes on with no worker left")
		}
	})
}

func TestBusyWorkersStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		for range 10 {
			p.Go(taskFunc(func(*Worker) {}))
			synctest.Wait()
			time.Sleep(trimEvery / 3)
		}
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := len(p.idle); n != 1 {
			t.Errorf("%d workers are idle, want the one in use", n)
		}
	})
}

func TestLargeBuffersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		w := p.Get()
		w.Start(taskFunc(func(w *Worker) { w.In, w.Out = make([]byte, maxKept+1), make([]byte, maxKept) }))
		synctest.Wait()
		if w.In != nil || cap(w.Out) != maxKept {
			t.Errorf("kept %d and %d bytes", cap(w.In), cap(w.Out))
		}
	})
}

func TestGoexitEndsOneWorker(t *testing.T) {
	var p Pool
	defer p.Close()
	var ran atomic.Int32
	done := make(chan struct{})
	p.Go(taskFunc(func(*Worker) { defer close(done); ran.Add(1); runtime.Goexit() }))
	<-done
	again := make(chan struct{})
	p.Go(taskFunc(func(*Worker) { ran.Add(1); close(again) }))
	<-again
	if ran.Load() != 2 {
		t.Errorf("%d tasks ran, want 2", ran.Load())
	}
}

func TestCloseKeepsRunning(t *testing.T) {
	var p Pool
	gate, done := make(chan struct{}), make(chan struct{})
	p.Go(taskFunc(func(*Worker) { <-gate; close(done) }))
	p.Close()
	after := make(chan struct{})
	p.Go(taskFunc(func(*Worker) { close(after) }))
	<-after
	close(gate)
	<-done
}

func BenchmarkGo(b *testing.B) {
	var p Pool
	defer p.Close()
	done := make(chan struct{})
	task := taskFunc(func(*Worker) { done <- struct{}{} })
	b.ReportAllocs()
	for b.Loop() {
		p.Go(task)
		<-done
	}
}
