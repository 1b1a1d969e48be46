package flyrpc_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/go-flyrpc/flyrpc"
)

// TestAuthEveryWay: whatever way a client comes in, the handler runs for right credentials, and for no others.
func TestAuthEveryWay(t *testing.T) {
	server, roots := certificates(t)
	var ran atomic.Int32
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		Auth: checkToken, Logger: slog.New(slog.DiscardHandler),
		TLS: server, AllowPlain: true,
	})
	srv.OnMessage("/who", func(c *flyrpc.Context) string {
		ran.Add(1)
		return fmt.Sprint(c.Conn().Identity())
	})
	addr, unix := listenEverywhere(t, srv)
	ways := map[string]func(auth string) (string, error){
		"HTTP":                   func(auth string) (string, error) { return byHTTP(addr, auth) },
		"commands, TCP":          func(auth string) (string, error) { return byCommands(addr, auth) },
		"commands, WebSocket":    func(auth string) (string, error) { return byTexts(addr, auth) },
		"version 1, no metadata": func(auth string) (string, error) { return byVersion1(addr, auth) },
	}
	for _, base := range []string{"tcp://", "tls://", "ws://", "wss://", "http://", "https://", "udp://"} {
		ways[base] = func(auth string) (string, error) { return byClient(base+addr, roots, auth) }
	}
	ways["unix://"] = func(auth string) (string, error) { return byClient(unix, roots, auth) }
	for name, call := range ways {
		t.Run(name, func(t *testing.T) {
			for _, auth := range []string{"", `{"token":"wrong"}`, `{"token":7}`} {
				before := ran.Load()
				got, err := call(auth)
				if !errors.Is(err, flyrpc.Unauthenticated) || ran.Load() != before {
					t.Errorf("with %q: %q, %v; the handler ran %d times", auth, got, err, ran.Load()-before)
				}
			}
			got, err := call(`{"token":"right"}`)
			if name == "version 1, no metadata" { // it has no way to show anything
				if !errors.Is(err, flyrpc.Unauthenticated) {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if err != nil || strings.Trim(got, "\"\n") != "Ada" {
				t.Errorf("with the right credentials: %q, %v", got, err)
			}
		})
	}
}

// certificates returns what a server of 127.0.0.1 speaks TLS with, and what its clients do.
func certificates(t *testing.T) (server, client *tls.Config) {
	web := httptest.NewUnstartedServer(nil) // it has a certificate
	web.StartTLS()
	defer web.Close()
	return &tls.Config{Certificates: web.TLS.Certificates}, web.Client().Transport.(*http.Transport).TLSClientConfig
}

// checkToken lets in who shows the right token.
func checkToken(_ context.Context, c *flyrpc.Credentials) (any, error) {
	var a struct{ Token string }
	if err := c.Decode(&a); err != nil {
		return nil, err
	}
	if a.Token != "right" {
		return nil, errors.New("a wrong token")
	}
	return "Ada", nil
}

// listenEverywhere has srv listen on a port of TCP and UDP and on a Unix socket, and returns the address and the URL of the latter.
func listenEverywhere(t *testing.T, srv *flyrpc.Server) (addr, unix string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, unix = l.Addr().String(), "unix://"+filepath.Join(t.TempDir(), "s")
	ended := make(chan error, 3)
	go func() { ended <- srv.Serve(l) }()
	go func() { ended <- srv.Listen(unix) }()
	go func() { ended <- srv.Listen("udp://" + addr) }()
	t.Cleanup(func() {
		srv.Close()
		for range 3 {
			if err := <-ended; !errors.Is(err, flyrpc.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	for _, scheme := range []string{unix, "udp://" + addr} { // they may not be listening yet
		for range 100 {
			_, err := byClient(scheme, nil, "")
			if errors.Is(err, flyrpc.Unauthenticated) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return addr, unix
}

// byClient calls /who by a Go client.
func byClient(url string, roots *tls.Config, auth string) (string, error) {
	opts := &flyrpc.ClientOpts{Logger: slog.New(slog.DiscardHandler)}
	if auth != "" {
		opts.Auth = json.RawMessage(auth)
	}
	if secure := strings.SplitN(url, ":", 2)[0]; secure == "tls" || secure == "wss" || secure == "https" {
		opts.TLS = roots
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cli := flyrpc.NewClient(url, opts)
	defer cli.Close()
	return flyrpc.Call[string](ctx, cli, "/who", nil)
}

// byHTTP calls /who as curl does.
func byHTTP(addr, auth string) (string, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/who", nil)
	if err != nil {
		return "", err
	}
	if auth != "" {
		r.Header.Set("Fly-Auth", auth)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode == http.StatusUnauthorized {
		err = flyrpc.Unauthenticated
	}
	return string(body), err
}

// commands are what a client of JSON commands sends.
func commands(auth string) []string {
	call := `{"action":"/who","key":"1"}`
	if auth == "" {
		return []string{call}
	}
	return []string{`{"action":"fly.hello","key":"0","body":{"auth":` + auth + `}}`, call}
}

// resultOf returns what the answers to commands say.
func resultOf(answer string) (string, error) {
	var c struct {
		Action string
		Key    string
		Body   json.RawMessage
	}
	if err := json.Unmarshal([]byte(answer), &c); err != nil {
		return answer, err
	}
	switch {
	case strings.Contains(string(c.Body), "UNAUTHENTICATED"):
		return "", flyrpc.Unauthenticated
	case c.Action != "drs.response":
		return "", errors.New(answer)
	}
	return string(c.Body), nil
}

// byCommands sends JSON commands in lines.
func byCommands(addr, auth string) (got string, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	lines := bufio.NewScanner(c)
	for _, line := range commands(auth) {
		if _, err := c.Write([]byte(line + "\n")); err != nil {
			return "", err
		}
		if !lines.Scan() {
			return "", fmt.Errorf("no answer: %v", lines.Err())
		}
		if got, err = resultOf(lines.Text()); err != nil {
			return "", err
		}
	}
	return got, nil
}

// byTexts sends JSON commands in texts of a WebSocket.
func byTexts(addr, auth string) (got string, err error) {
	c, res, err := gorilla.DefaultDialer.Dial((&url.URL{Scheme: "ws", Host: addr}).String(), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	defer c.Close()
	for _, text := range commands(auth) {
		if err := c.WriteMessage(gorilla.TextMessage, []byte(text)); err != nil {
			return "", err
		}
		_, answer, err := c.ReadMessage()
		if err != nil {
			return "", err
		}
		if got, err = resultOf(string(answer)); err != nil {
			return "", err
		}
	}
	return got, nil
}

// byVersion1 sends a request of version 1, with auth as its payload.
func byVersion1(addr, auth string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	request, err := flyrpc.AppendPacket(nil, &flyrpc.Packet{Flag: flyrpc.FlagWait, Sequence: 1, Code: "/who", Payload: []byte(auth)})
	if err != nil {
		return "", err
	}
	if _, err := c.Write(request); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	p, _, err := flyrpc.ParsePacket(b, 1<<20)
	switch {
	case err != nil:
		return "", err
	case p.Code != "":
		return "", flyrpc.Code(p.Code)
	}
	return string(p.Payload), nil
}
