package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// maxConnAge is how old connections get: then the server says bye, and the client has to move before anything fails.
const maxConnAge = 2 * time.Second

// watched is how many items a stream to the client has.
const watched = 60

// job is what the client asks a server to do.
type job struct {
	ID            uint64
	Kind          kind
	Body          []byte
	Before, After time.Duration // how long the handler takes before it executes, and then until it answers
	Refuse        bool          // answer with an error
	Back          bool          // call the client back first
	From          int           // the first item
}

// item is one of a stream to the client. The last one has the answer.
type item struct {
	N      int
	Answer answer
}

// routes registers the handlers.
func routes(srv *flyrpc.Server, r *recorder) {
	h := handlers{r}
	srv.OnMessage("/introduce", func(ctx *flyrpc.Context) { ctx.Conn().SetValue(introduced{}, true) })
	srv.OnMessage("/do", h.do)
	srv.OnMessage("/tell", func(ctx *flyrpc.Context, j *job) error { _, err := h.do(ctx, j); return err })
	srv.OnMessage("/watch", h.watch)
	srv.OnMessage("/upload", h.upload)
	srv.OnMessage("/conns", func() int { return len(srv.Conns()) })
}

type handlers struct{ *recorder }

// introduced is the key under which connections have a value that were introduced, which the client is to do before it uses one.
type introduced struct{}

// do executes a job, and answers what it has recorded.
func (h handlers) do(ctx *flyrpc.Context, j *job) (*answer, error) {
	if j.Back {
		var id uint64
		if err := ctx.Call("/back", j.ID, &id); err != nil || id != j.ID {
			return nil, flyrpc.Errorf(flyrpc.Internal, "the client was called back for %d and answered %d, %v", j.ID, id, err)
		}
	}
	if ctx.Conn().Value(introduced{}) == nil {
		j.Kind = stranger
	}
	if err := pause(ctx, j.Before); err != nil {
		return nil, err
	}
	a := &answer{Sum: crc32.ChecksumIEEE(j.Body)}
	var err error
	if a.Exec, err = h.write(j.Kind, j.ID, a.Sum); err != nil {
		return nil, err
	}
	_ = pause(ctx, j.After) // it is done, whoever waits for it
	if j.Refuse {
		return nil, flyrpc.Errorf(flyrpc.Conflict, "as you wish").WithDetails(a)
	}
	return a, nil
}

// watch sends items, slowly.
func (h handlers) watch(ctx *flyrpc.Context, j *job) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		a, err := h.do(ctx, j)
		if err != nil {
			yield(item{}, err)
			return
		}
		for n := j.From; n < watched; n++ {
			if n%10 == 0 && pause(ctx, 10*time.Millisecond) != nil || !yield(item{n, *a}, nil) {
				return
			}
		}
	}
}

// upload executes a job when all of its body has come.
func (h handlers) upload(ctx *flyrpc.Context, j *job, parts iter.Seq2[[]byte, error]) (*answer, error) {
	for part, err := range parts {
		if err != nil {
			return nil, err
		}
		j.Body = append(j.Body, part...)
	}
	return h.do(ctx, j)
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runServer is what a server's process does: it serves on a free port, which it writes to its output, until its input has a line, which is the
// order to shut down, or ends, since then whoever has started it is gone. text is its life and, after a blank, its file.
func runServer(text string) error {
	life, path, _ := strings.Cut(text, " ")
	r, err := openRecorder(path, life)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		// So that silence isn't suffered: a client whose hello the network has lost may not hear of its end either.
		Auth:          func(context.Context, *flyrpc.Credentials) (any, error) { return nil, nil },
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		KeepaliveTime: keepaliveTime, KeepaliveInterval: keepaliveInterval, HelloTimeout: time.Second, MaxConnAge: maxConnAge,
	})
	routes(srv, r)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Println(l.Addr())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch {
	case err == nil:
		err = srv.Shutdown(ctx)
	case errors.Is(err, io.EOF):
		err = srv.Close()
	}
	if end := <-served; !errors.Is(end, flyrpc.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
