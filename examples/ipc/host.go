package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// plugin is the process that the host has started.
type plugin struct {
	*flyrpc.Client
	cmd    *exec.Cmd
	socket string
	begun  chan struct{} // told when /hang has begun
}

// start starts the plug-in and returns the connection to it.
func start(socket string) (*plugin, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), inPlugin+"="+socket)
	cmd.Stderr = os.Stderr // its log
	conn, err := transport.StartChild(cmd, nil)
	if err != nil {
		return nil, err
	}
	p := &plugin{flyrpc.NewClientConn(conn, nil), cmd, socket, make(chan struct{}, 1)}
	p.OnMessage("/name", func() string { return "host" })
	p.OnMessage("/begun", func() { p.begun <- struct{}{} })
	return p, nil
}

// runHost starts the plug-in, uses it, kills it, and starts it anew.
func runHost(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "flyrpc-ipc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "plugin.sock")
	for _, use := range []func(context.Context, *plugin) error{talk, kill, talk} {
		p, err := start(socket)
		if err != nil {
			return err
		}
		err = use(ctx, p)
		p.Close() // closes the plug-in's input, and returns when the process is gone
		if err != nil {
			return err
		}
		fmt.Println("the plug-in has ended:", p.cmd.ProcessState)
	}
	return nil
}
