package flyrpc_test

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/go-flyrpc/flyrpc"
)

// registerStreams registers the handlers with items of the conformance program.
func registerStreams(r *flyrpc.Router) {
	r.OnMessage("/count", countTo)
	r.OnMessage("/lines", tornLines)
	r.OnMessage("/sum", func(items iter.Seq2[int, error]) (sum int, err error) {
		for n, err := range items {
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
	r.OnMessage("/join", func(items io.Reader) ([]byte, error) { return io.ReadAll(items) })
	r.OnMessage("/pass", passOn)
	r.OnMessage("/early", func(items iter.Seq2[int, error]) (int, error) {
		for n, err := range items {
			return n, err
		}
		return 0, flyrpc.Errorf(flyrpc.BadRequest, "no item came")
	})
}

// countTo yields the numbers from 1 to n.
func countTo(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i+1, nil) {
				return
			}
		}
	}
}

// tornLines yields n lines and an error.
func tornLines(n int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("line %d", i+1), nil) {
				return
			}
		}
		yield("", flyrpc.Errorf(flyrpc.Conflict, "torn"))
	}
}

// passOn sends each item back.
func passOn(s *flyrpc.Stream) error {
	for {
		var item any
		if err := s.Recv(&item); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(item); err != nil {
			return err
		}
	}
}

// stream calls the other end with items in one of the two directions.
func (d *doMessage) stream(ctx *flyrpc.Context, a *doAnswer) error {
	switch d.How {
	case "receive", "first":
		a.Items = []json.RawMessage{}
		for item, err := range flyrpc.Receive[json.RawMessage](ctx, ctx.Conn(), d.Path, d.message()) {
			if a.fails(err) {
				break
			}
			a.Items = append(a.Items, slices.Clone(item))
			if d.How == "first" {
				break
			}
		}
	case "upload":
		reply, err := flyrpc.Upload[json.RawMessage](ctx, ctx.Conn(), d.Path, d.message(), slices.Values(d.Items))
		if !a.fails(err) {
			a.Reply = reply
		}
	default:
		return flyrpc.Errorf(flyrpc.BadRequest, "nobody knows how to %q", d.How)
	}
	return nil
}
