package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
)

// inChild is the environment variable that makes this program a server: its life and, after a blank, the file it records in.
const inChild = "FLYRPC_CHAOS_SERVER"

// node is a server that lives several lives, one process each, behind a proxy whose address stays.
type node struct {
	name  string
	file  string
	proxy *netfault.Proxy

	mu   sync.Mutex // held while a process is started or ended
	life int
	proc *process // nil between two lives
}

// process is one life of a server.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	addr string
}

// cluster is all servers.
type cluster []*node

// startCluster starts n servers, which record in dir.
func startCluster(n int, dir string) (c cluster, err error) {
	for i := range n {
		node := &node{name: string(rune('a' + i))}
		node.file = filepath.Join(dir, "server-"+node.name)
		if node.proxy, err = netfault.Listen(""); err == nil {
			c = append(c, node)
			err = node.start()
		}
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	return c, nil
}

// addrs returns the addresses of all servers, which stay.
func (c cluster) addrs() (all []string) {
	for _, n := range c {
		all = append(all, n.proxy.Addr())
	}
	return all
}

// heal takes all faults back.
func (c cluster) heal() (err error) {
	for _, n := range c {
		err = errors.Join(err, n.proxy.Heal())
	}
	return err
}

// stop ends all connections and then the servers, and waits for them: after it nothing is executed any more.
func (c cluster) stop() (err error) {
	for _, n := range c {
		err = errors.Join(err, n.proxy.Close(), n.shutDown())
	}
	return err
}

// records returns what all of them have executed, in all of their lives.
func (c cluster) records() (records, error) {
	all := records{}
	for _, n := range c {
		if err := all.read(n.file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// start begins the next life.
func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n.life++
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d %s", inChild, n.name, n.life, n.file))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("server %s says no address: %w", n.name, err), p.cmd.Process.Kill(), p.cmd.Wait())
	}
	p.addr = strings.TrimSpace(line)
	n.proxy.SetTarget(p.addr)
	n.proc = p
	return nil
}

// kill ends the process with SIGKILL.
func (n *node) kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	err := n.proc.cmd.Process.Kill()
	_ = n.proc.cmd.Wait() // says that it was killed
	n.proc = nil
	return err
}

// shutDown has the process shut down in order, and waits for it.
func (n *node) shutDown() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	_, err := io.WriteString(n.proc.in, "\n")
	err = errors.Join(err, n.proc.cmd.Wait())
	n.proc = nil
	return err
}

// address returns the address of the process itself, beside the proxy.
func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc.addr
}
