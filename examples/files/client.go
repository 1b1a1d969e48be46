package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// transfer starts a server, sends the file there and back, and judges both processes' memory.
func transfer(ctx context.Context) error {
	addr, stop, err := startServer(ctx)
	if err != nil {
		return err
	}
	return errors.Join(talk(ctx, addr), stop())
}

func talk(ctx context.Context, addr string) error {
	cli, err := flyrpc.Dial(ctx, addr, nil)
	if err != nil {
		return err
	}
	defer cli.Close()
	sent, err := send(ctx, cli)
	if err != nil {
		return err
	}
	got, err := fetch(ctx, cli, sent.Bytes)
	if err != nil {
		return err
	}
	if *got != *sent {
		return fmt.Errorf("sent %d bytes with checksum %08x, but %d with %08x came back", sent.Bytes, sent.Sum, got.Bytes, got.Sum)
	}
	fmt.Printf("the same %d bytes came back, checksum %08x\n", got.Bytes, got.Sum)
	return judgeMemory(ctx, cli)
}

// send uploads the file: an io.Reader is a message like any other, of any length.
func send(ctx context.Context, cli *flyrpc.Client) (*receipt, error) {
	file, n, err := open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum, bar := crc32.New(castagnoli), newBar("upload", n)
	content := io.TeeReader(file, io.MultiWriter(sum, bar))
	stored, err := flyrpc.Call[receipt](ctx, cli, "/upload", content)
	if err != nil {
		return nil, err
	}
	bar.finish()
	if stored.Bytes != bar.done || stored.Sum != sum.Sum32() {
		return nil, fmt.Errorf("sent %d bytes with checksum %08x, but the server has %d with %08x",
			bar.done, sum.Sum32(), stored.Bytes, stored.Sum)
	}
	return &stored, nil
}

// fetch downloads the file: Call returns when its first bytes are there, and reading takes the rest.
func fetch(ctx context.Context, cli *flyrpc.Client, n int64) (*receipt, error) {
	file, err := flyrpc.Call[io.ReadCloser](ctx, cli, "/download", nil)
	if err != nil {
		return nil, err
	}
	defer file.Close() // to leave early cancels the handler
	sum, bar := crc32.New(castagnoli), newBar("download", n)
	if _, err := io.Copy(io.MultiWriter(sum, bar), file); err != nil {
		return nil, err // the server has failed, or the connection: never io.EOF too early
	}
	bar.finish()
	return &receipt{bar.done, sum.Sum32()}, nil
}

// startServer runs the server in a process of its own and returns its address. stop ends it.
func startServer(ctx context.Context) (addr string, stop func() error, err error) {
	program, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, program, "-serve", fmt.Sprint("-size=", *size), "-in="+*in)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		input.Close()
		return cmd.Wait()
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("the server didn't start: %w", err), stop())
	}
	return strings.TrimSpace(line), stop, nil
}
