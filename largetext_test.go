package flyrpc

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// TestLargeText: a large string, whose memory is sent as it is, comes whole, in one packet and in pieces, compressed too, from
// handlers of all kinds and to a version 1 peer.
func TestLargeText(t *testing.T) {
	texts := []string{strings.Repeat("a", largeBody-1), strings.Repeat("b", largeBody), strings.Repeat("c", 100<<10), strings.Repeat("d", 1<<20)}
	for name, opts := range map[string]*ClientOpts{"plain": nil, "compressed": {Zip: Zip{Body: ZipZstd}}, "version 1": {NoHello: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{Zip: Zip{Body: ZipZstd}})
				srv.OnMessage("/text", func(s string) string { return s })
				srv.OnMessage("/inline", func(s string) string { return s }, Inline)
				cli := connectPipe(t, srv, opts)
				for _, text := range texts {
					for _, path := range []string{"/text", "/inline"} {
						for range 3 {
							got, err := Call[string](context.Background(), cli, path, text)
							if err != nil || got != text {
								t.Errorf("%s: %d bytes of %d, %v", path, len(got), len(text), err)
							}
						}
					}
				}
			})
		})
	}
}
