package natsbus

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The environment by which a test starts its own binary as something else.
const (
	roleEnv   = "NATSBUS_ROLE"
	configEnv = "NATSBUS_CONFIG"
)

// startTime is how long a child may take until it is ready, on a busy machine.
const startTime = time.Minute

// role is what a child does: it says something as soon as it is ready, and ends in order when stop is closed.
type role func(config []byte, ready func(said any), stop <-chan struct{}) error

// runChild is the main function of a child. It ends when its standard input does, so that no child is left if the test is
// killed.
func runChild(run role) int {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	ready := func(said any) {
		if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if err := run([]byte(os.Getenv(configEnv)), ready, stop); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process is a child that is ready.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.Closer
	out  *bufio.Reader
	end  func() error
}

// startChild starts a child and waits until it is ready. What it says is decoded into said. Its log goes to a file in dir.
func startChild(name, role, dir string, config, said any) (*process, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), roleEnv+"="+role, configEnv+"="+string(data))
	cmd.Stderr = log
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
	p := &process{name: name, cmd: cmd, in: in, out: bufio.NewReader(out), end: sync.OnceValue(cmd.Wait)}
	if err := p.hear(said); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// hear waits for the next thing that the child says. One that says nothing is killed.
func (p *process) hear(said any) error {
	late := time.AfterFunc(startTime, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, said)
	}
	if err != nil {
		return fmt.Errorf("%s doesn't start: %w", p.name, err)
	}
	return nil
}

// kill ends the child at once, by SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.end()
}

// stop has the child end in order.
func (p *process) stop() error {
	p.in.Close()
	late := time.AfterFunc(startTime, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.end(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// showLogs prints the ends of the children's logs if the test has failed.
func showLogs(t *testing.T, dir string) {
	const most = 3_000
	if !t.Failed() {
		return
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && len(text) > 0 {
			t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-most):])
		}
	}
}

func TestChildThatFails(t *testing.T) {
	var said string
	for _, role := range []string{"broker", "instance"} {
		if p, err := startChild("wrong", role, t.TempDir(), "no config", &said); err == nil {
			p.kill()
			t.Errorf("a %s without a configuration has started", role)
		}
	}
	if err := (&process{name: "x", in: io.NopCloser(nil), end: func() error { return errors.ErrUnsupported }}).stop(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
