package flyrpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/wiretest"
)

const (
	nodeTime = 60 * time.Second // bounds the life of the process
	nodeWait = 10 * time.Second // and that of each thing that it must do by itself: to dial, to end
)

// TestConformanceNode plays the accepting side of the scenarios against the client in testdata/nodeclient, which was
// written from the protocol's document alone.
func TestConformanceNode(t *testing.T) {
	l := conformanceListener(t).(*net.TCPListener)
	node := startNode(t, l)
	for _, s := range conformanceScenarios(t, wiretest.Accepting) {
		t.Run(s.Section+"/"+s.Name, func(t *testing.T) {
			err := playNode(l, s)
			if slices.Contains(s.Needs, "zstd") { // which it doesn't offer, and must not be sent
				if !errors.Is(err, wiretest.ErrNotOffered) && !errors.Is(err, errNoNode) {
					t.Error("it offers to inflate zstd:", err)
				}
				return
			}
			if err != nil {
				t.Error(err)
			}
			if errors.Is(err, errNoNode) {
				l.Close() // none of the others need wait for it
			}
		})
	}
	l.Close()
	node.wait(t)
}

// errNoNode is the error of playNode when no connection comes.
var errNoNode = errors.New("no connection of Node.js comes")

// playNode plays a scenario on the next connection that the client makes.
func playNode(l *net.TCPListener, s wiretest.Scenario) error {
	ctx, cancel := context.WithTimeout(context.Background(), conformanceTime)
	defer cancel()
	if err := l.SetDeadline(time.Now().Add(nodeWait)); err != nil {
		return fmt.Errorf("%w: %w", errNoNode, err)
	}
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoNode, err)
	}
	return wiretest.Play(ctx, conn, s, wiretest.Accepting)
}

// nodeProcess is the client's process.
type nodeProcess struct {
	ended  chan struct{}
	err    error // how it has ended
	output lockedText
}

// startNode starts the client, which dials l again and again. Nothing of it is left behind the test.
func startNode(t *testing.T, l net.Listener) *nodeProcess {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("this test takes Node.js 18 or later, which Debian has as nodejs (bash .ci/run installs it): %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), nodeTime)
	p := &nodeProcess{ended: make(chan struct{})}
	cmd := exec.CommandContext(ctx, path, "testdata/nodeclient/program.js", l.Addr().String())
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &p.output, &p.output, time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		if p.err = cmd.Wait(); p.err != nil {
			l.Close() // nobody will dial
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
		if text := p.output.String(); text != "" || t.Failed() {
			t.Logf("Node.js has ended (%v) and said:\n%s", p.err, text)
		}
	})
	return p
}

// wait waits until the process has ended, which it does by itself when nobody listens any more.
func (p *nodeProcess) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
		if text := p.output.String(); p.err != nil || text != "" {
			t.Errorf("Node.js should end in silence: %v", p.err)
		}
	case <-time.After(nodeWait):
		t.Error("Node.js doesn't end although nobody listens any more")
	}
}

// lockedText is a text that one goroutine writes and another reads.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedText) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedText) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
