package flyrpc

import (
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
)

// changing is a serializer that changes as it works.
type changing struct {
	serializer.Serializer
	mu   sync.Mutex
	last any
	name string
}

func (s *changing) Name() string { return s.name }

func (s *changing) Encode(dst []byte, v any) ([]byte, error) {
	s.mu.Lock()
	s.last = v
	s.mu.Unlock()
	return s.Serializer.Encode(dst, v)
}

// TestHandshakesLeaveSerializersAlone has connections agree on serializers while those are at work.
func TestHandshakesLeaveSerializersAlone(t *testing.T) {
	sers := []serializer.Serializer{
		&changing{Serializer: json.Serializer, name: "a"},
		&changing{Serializer: json.Serializer, name: "b"},
	}
	srv := quietServer(t, &ServerOpts{Serializers: sers})
	srv.OnMessage("echo", func(v map[string]int) map[string]int { return v })
	var wg sync.WaitGroup
	for _, s := range sers {
		wg.Go(func() {
			for range 20 {
				cli := connectPipe(t, srv, &ClientOpts{Serializer: &changing{Serializer: json.Serializer, name: s.Name()}})
				for range 10 {
					if err := cli.Call(bounded(t), "echo", map[string]int{"a": 1}, nil); err != nil {
						t.Error(err)
					}
				}
				cli.Close()
			}
		})
	}
	wg.Wait()
}
