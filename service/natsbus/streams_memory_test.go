package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// streamSize is how much TestMemoryOfStreams sends each way, in MiB: -mib 1024 is the whole GiB.
var streamSize = flag.Int("mib", 64, "size of the streams of TestMemoryOfStreams in MiB")

// sideConfig is what either side of the streams is told.
type sideConfig struct {
	URL  string
	Size int
}

// streamed is what the reading side says: how far it is, and at the end how much memory both sides took at the most.
type streamed struct {
	Bytes           int64
	Done            bool
	Archive, Reader uint64
}

// reportEvery is after how many bytes the reading side says how far it is.
const reportEvery = 16 << 20

// memory returns how much memory the process has from the system, but for what it has given back.
func memory() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// watchMemory looks at the process's memory until the process ends. The function it returns has the most so far.
func watchMemory() func() uint64 {
	var most atomic.Uint64
	most.Store(memory())
	go func() {
		for range time.Tick(2 * time.Millisecond) {
			most.Store(max(most.Load(), memory()))
		}
	}()
	return most.Load
}

// side connects a side of the streams.
func side(config []byte, name string) (c sideConfig, svc *service.Service, end func(), err error) {
	if err := json.Unmarshal(config, &c); err != nil {
		return c, nil, nil, err
	}
	bus, err := Connect(c.URL, nil)
	if err != nil {
		return c, nil, nil, err
	}
	svc = service.New(name, bus, nil)
	return c, svc, func() { svc.Close(); bus.Close() }, nil
}

// runArchive is the role of the side that serves streams.
func runArchive(config []byte, ready func(any), stop <-chan struct{}) error {
	peak := watchMemory()
	c, svc, end, err := side(config, "archive")
	if err != nil {
		return err
	}
	defer end()
	err = errors.Join(
		svc.QueueBind("get").To(func() io.Reader { return &counted{size: c.Size} }),
		svc.QueueBind("put").To(check),
		svc.QueueBind("memory").To(peak))
	if err != nil {
		return err
	}
	ready("archive")
	<-stop
	return nil
}

// reporting is a reader that says how far it is.
type reporting struct {
	io.Reader
	n, told int64
	report  func(any)
}

func (r *reporting) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.n += int64(n); r.n-r.told >= reportEvery {
		r.told = r.n
		r.report(streamed{Bytes: r.n})
	}
	return n, err
}

// runReader is the role of the side that calls: it gets a stream and sends one.
func runReader(config []byte, ready func(any), stop <-chan struct{}) error {
	peak := watchMemory()
	c, svc, end, err := side(config, "reader")
	if err != nil {
		return err
	}
	defer end()
	ready(streamed{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-stop
		cancel()
	}()
	archive := svc.Service("archive")
	var r io.ReadCloser
	if err := archive.Request(ctx, "get", nil).Into(&r); err != nil {
		return err
	}
	if n, err := check(&reporting{Reader: r, report: ready}); err != nil || n != int64(c.Size) {
		return fmt.Errorf("%d bytes of %d came: %w", n, c.Size, err)
	}
	n, err := flyrpc.Call[int64](ctx, archive, "put", &reporting{Reader: &counted{size: c.Size}, report: ready})
	if err != nil || n != int64(c.Size) {
		return fmt.Errorf("%d bytes of %d were taken: %w", n, c.Size, err)
	}
	their, err := flyrpc.Call[uint64](ctx, archive, "memory", nil)
	if err != nil {
		return err
	}
	ready(streamed{Done: true, Archive: their, Reader: peak()})
	<-stop
	return nil
}

// Streams of any size pass through a broker and a service, whole and in order, in less than 64 MiB of memory of the process at each side: all of it, not
// what they add.
func TestMemoryOfStreams(t *testing.T) {
	const most = 64 << 20
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"})
	dir := t.TempDir()
	t.Cleanup(func() { showLogs(t, dir) })
	config := sideConfig{s.URL(), *streamSize << 20}
	var said string
	archive, err := startChild("archive", "archive", dir, config, &said)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.kill()
	begun := time.Now()
	var state streamed
	reader, err := startChild("reader", "reader", dir, config, &state)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.kill()
	for !state.Done {
		state = streamed{}
		if err := reader.hear(&state); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*process{reader, archive} {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d MiB each way in %v: %.1f MiB of memory at the one side, %.1f at the other", *streamSize, time.Since(begun).Round(time.Millisecond),
		float64(state.Archive)/(1<<20), float64(state.Reader)/(1<<20))
	if state.Archive > most || state.Reader > most {
		t.Errorf("the sides had %d and %d MiB of memory, %d are the limit", state.Archive>>20, state.Reader>>20, most>>20)
	}
}
