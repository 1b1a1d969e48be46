package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/measure"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// The first argument of a process that this program starts as its child.
const (
	roleMeasure = "child-measure"
	roleServe   = "child-serve"
	roleFlood   = "child-flood"
)

// caseTimeout is how long a measurement may take beside its own time.
const caseTimeout = 2 * time.Minute

// child does what this process was started for, and reports false if that is
// nothing a child does.
func child(args []string, in io.Reader, out io.Writer) (bool, error) {
	if len(args) != 2 {
		return false, nil
	}
	switch args[0] {
	case roleMeasure:
		return true, measureCase(args[1], out)
	case roleServe:
		return true, serve(args[1], in, out)
	case roleFlood:
		return true, floodServer(args[1], in, out)
	}
	return false, nil
}

// startCase measures a case in a process of its own.
func startCase(ctx context.Context, c Case) (Metrics, error) {
	arg, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, caseTimeout+2*c.Time)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, roleMeasure, string(arg))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errors.Join(err, ctx.Err()), bytes.TrimSpace(stderr.Bytes()))
	}
	var m Metrics
	err = json.Unmarshal(out, &m)
	return m, err
}

// server is a peer's server, here or in another process.
type server struct {
	addr   string
	usage  func() (measure.Usage, error) // nil if it is this process
	memory func() (measure.Memory, error)
	close  func()
}

// startServer starts a peer's server where the case says.
func startServer(c Case, p peers.Peer) (*server, error) {
	if c.Mode == twoProcesses {
		return startProcess(c)
	}
	s, err := p.Serve()
	if err != nil {
		return nil, err
	}
	return &server{addr: s.Addr, close: s.Close}, nil
}

// The questions a server in another process is asked, one a line. It answers in JSON, one a line.
const (
	askUsage  = "usage"
	askMemory = "memory"
)

// serve runs the server of a case, which comes as JSON, until in ends, and answers the questions in it.
func serve(arg string, in io.Reader, out io.Writer) error {
	_, p, err := parseCase(arg)
	if err != nil {
		return err
	}
	s, err := p.Serve()
	if err != nil {
		return err
	}
	defer s.Close()
	answers := json.NewEncoder(out)
	if err := answers.Encode(s.Addr); err != nil {
		return err
	}
	questions := bufio.NewScanner(in)
	for questions.Scan() {
		var answer any
		switch questions.Text() {
		case askUsage:
			answer = measure.ReadUsage()
		case askMemory:
			answer = measure.ReadMemory()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return questions.Err()
}

// startProcess starts a process that serves the peer of a case.
func startProcess(c Case) (*server, error) {
	child, err := startChild(roleServe, c)
	if err != nil {
		return nil, err
	}
	s := &server{
		usage:  func() (u measure.Usage, err error) { err = child.ask(askUsage, &u); return u, err },
		memory: func() (m measure.Memory, err error) { err = child.ask(askMemory, &m); return m, err },
		close:  child.close,
	}
	if err := child.answers.Decode(&s.addr); err != nil {
		s.close()
		return nil, fmt.Errorf("the server didn't start: %w", err)
	}
	return s, nil
}

// childProcess is a process that this one has started and asks questions.
type childProcess struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// startChild starts a process in a role. What it is told goes to it as JSON.
func startChild(role string, told any) (*childProcess, error) {
	arg, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, role, string(arg))
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
	return &childProcess{cmd, in, json.NewDecoder(out)}, nil
}

// ask has the process answer a question.
func (p *childProcess) ask(question string, answer any) error {
	if _, err := fmt.Fprintln(p.in, question); err != nil {
		return err
	}
	return p.answers.Decode(answer)
}

// close ends the process.
func (p *childProcess) close() {
	p.in.Close()
	_ = p.cmd.Wait()
}
