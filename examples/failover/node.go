package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// inChild is the environment variable that makes this program one of its servers.
const inChild = "FLYRPC_FAILOVER_SERVER"

// node is a server, in a process of its own.
type node struct {
	name string
	addr string // stays the same when it is started again
	cmd  *exec.Cmd
	in   io.WriteCloser
}

// startNodes starts a server for each name.
func startNodes(names ...string) (all []*node, err error) {
	for _, name := range names {
		n := &node{name: name, addr: "127.0.0.1:0"}
		if err := n.start(); err != nil {
			return nil, errors.Join(err, killAll(all))
		}
		all = append(all, n)
	}
	return all, nil
}

// start starts the process, and returns when it serves.
func (n *node) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), inChild+"="+n.name+" "+n.addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if n.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("server %s doesn't serve: %w", n.name, err), cmd.Process.Kill(), cmd.Wait())
	}
	n.cmd, n.addr = cmd, strings.TrimSpace(line)
	return nil
}

// kill ends the process as no process expects it.
func (n *node) kill() error {
	if n.cmd == nil {
		return nil
	}
	err := n.cmd.Process.Kill()
	_ = n.cmd.Wait() // says that it was killed
	n.cmd = nil
	return err
}

// restart has the process shut down in order, and starts it again.
func (n *node) restart() error {
	if _, err := io.WriteString(n.in, "\n"); err != nil {
		return err
	}
	if err := n.cmd.Wait(); err != nil {
		return err
	}
	return n.start()
}

// killAll kills all that run.
func killAll(all []*node) (err error) {
	for _, n := range all {
		err = errors.Join(err, n.kill())
	}
	return err
}
