// Command webchat serves a page by which people talk to each other. The page opens a WebSocket and speaks in JSON
// commands, one in each text message: no library is needed in the browser. Open it in two windows; stop the
// program and start it again, and both go on.
//
//	go run ./examples/webchat
package main

import (
	"context"
	"embed"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

//go:embed page.html
var files embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", "localhost:8080")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("open http://%s/ in two windows", l.Addr())
	if err := serve(ctx, l); err != nil {
		log.Fatal(err)
	}
}

// serve serves the page and its WebSocket until ctx ends.
func serve(ctx context.Context, l net.Listener) error {
	srv := flyrpc.NewServer(nil)
	newRoom(srv)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'")
		http.ServeFileFS(w, r, files, "page.html")
	})
	mux.Handle("/chat", srv) // any path will do
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	select {
	case err := <-served:
		srv.Close()
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// WebSockets are the flyrpc.Server's to close: the page is told, and comes again. The other connections
	// are closed as they are: a browser opens some that it may never use.
	return errors.Join(srv.Shutdown(end), web.Close())
}
