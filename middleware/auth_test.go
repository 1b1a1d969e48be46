package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// checkToken knows the tokens "name:role,role".
func checkToken(ctx context.Context, token string) (*middleware.Principal, error) {
	name, roles, ok := strings.Cut(token, ":")
	switch {
	case token == "nobody":
		return nil, nil
	case token == "down":
		return nil, fmt.Errorf("asking: %w", flyrpc.Errorf(flyrpc.Unavailable, "the directory is down"))
	case token == "code":
		return nil, fmt.Errorf("asking: %w", flyrpc.Conflict)
	case token == "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case token == "canceled":
		return nil, context.Canceled
	case !ok:
		return nil, errors.New("no such token")
	}
	return &middleware.Principal{Name: name, Roles: strings.Split(roles, ","), Value: len(token)}, nil
}

func authRules() []middleware.Rule {
	return []middleware.Rule{
		middleware.Public("/open"),
		middleware.Authenticated("/user/..."),
		middleware.Roles("/admin/...", "admin", "root"),
		middleware.Roles("/admin/danger", "root"),
	}
}

func TestAuthToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, err := middleware.Auth(middleware.AuthOptions{Rules: authRules(), Check: checkToken})
		if err != nil {
			t.Fatal(err)
		}
		srv := newServer(t, nil)
		srv.Use(auth)
		for _, path := range []string{"/open", "/user/me", "/admin/list", "/admin/danger", "/unnamed"} {
			srv.OnMessage(path, func(ctx *flyrpc.Context, p map[string]any) string {
				if p := middleware.PrincipalOf(ctx); p != nil {
					return fmt.Sprint(p.Name, p.Roles, p.Value)
				}
				return "nobody"
			})
		}
		cli := newClient(t, srv, nil)
		const (
			ok  = ""
			un  = flyrpc.Unauthenticated
			not = flyrpc.Forbidden
		)
		for _, tt := range []struct {
			path, token string
			code        flyrpc.Code
			want        string
		}{
			{"/open", "", ok, "nobody"},
			{"/open", "wrong", ok, "nobody"},
			{"/user/me", "ada:x", ok, "ada[x] 5"},
			{"/user/me", "", un, `no credentials that are accepted here: send a token with the metadata key "token"`},
			{"/user/me", "wrong", un, "no such token"},
			{"/user/me", "nobody", un, "nobody's"},
			{"/user/me", "down", flyrpc.Unavailable, "the directory is down"},
			{"/user/me", "code", flyrpc.Conflict, "asking"},
			{"/user/me", "canceled", flyrpc.Canceled, ""},
			{"/admin/list", "ada:x,admin", ok, "ada[x admin] 11"},
			{"/admin/list", "ada:x", not, "none of the roles"},
			{"/admin/list", "", un, "no credentials"},
			{"/admin/danger", "ada:admin", not, "none of the roles"},
			{"/admin/danger", "ada:root", ok, "ada[root] 8"},
			{"/unnamed", "ada:root", not, "nobody may call this path"},
			{"/unnamed", "", not, "nobody may call this path"},
		} {
			ctx := t.Context()
			if tt.token != "" {
				ctx = flyrpc.WithMeta(ctx, "token", tt.token)
			}
			var message any // a map, but where it must not be decoded: a refusal comes before BAD_REQUEST
			if tt.code != ok {
				message = "no map"
			}
			got, err := flyrpc.Call[string](ctx, cli, tt.path, message)
			wantErr(t, err, tt.code, flyrpc.NotProcessed)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("%s with %q: got %s, want %s", tt.path, tt.token, got, tt.want)
			}
		}
		err = cli.Call(flyrpc.WithMeta(t.Context(), "token", "ada:x"), "/user/me", "no map", nil)
		wantErr(t, err, flyrpc.BadRequest, flyrpc.Answered) // it is decoded when it is let through
		ctx, cancel := context.WithTimeout(flyrpc.WithMeta(t.Context(), "token", "slow"), time.Second)
		defer cancel()
		wantErr(t, cli.Call(ctx, "/user/me", nil, nil), flyrpc.Timeout, flyrpc.Unknown)
		if err := cli.Call(t.Context(), "/missing", nil, nil); !errors.Is(err, flyrpc.NotFound) {
			t.Error(err)
		}
	})
}

// TestAuthStream: a stream is refused before its handler has seen anything, and its items go nowhere.
func TestAuthStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, err := middleware.Auth(middleware.AuthOptions{Rules: authRules(), Check: checkToken, Key: "key"})
		if err != nil {
			t.Fatal(err)
		}
		srv := newServer(t, nil)
		srv.Use(auth)
		srv.OnMessage("/user/sum", func(ctx *flyrpc.Context, s *flyrpc.Stream) (int, error) {
			if middleware.PrincipalOf(ctx).Name != "ada" {
				t.Error("refused, and handled")
			}
			n, sum := 0, 0
			var err error
			for err = s.Recv(&n); err == nil; err = s.Recv(&n) {
				sum += n
			}
			if err != io.EOF {
				return 0, err
			}
			return sum, nil
		})
		cli := newClient(t, srv, nil)
		items := slices.Values([]int{1, 2, 3})
		_, err = flyrpc.Upload[int](t.Context(), cli, "/user/sum", nil, items)
		wantErr(t, err, flyrpc.Unauthenticated, flyrpc.NotProcessed)
		sum, err := flyrpc.Upload[int](flyrpc.WithMeta(t.Context(), "key", "ada:x"), cli, "/user/sum", nil, items)
		if sum != 6 || err != nil {
			t.Error(sum, err)
		}
	})
}

func TestAuthIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, &flyrpc.ServerOpts{
			Logger: slog.New(slog.DiscardHandler),
			Auth: func(_ context.Context, c *flyrpc.Credentials) (any, error) {
				if len(c.Auth) == 0 {
					return nil, nil
				}
				var name string
				return name, c.Decode(&struct{ Name *string }{&name})
			},
		})
		mw := func(o middleware.AuthOptions) flyrpc.Middleware {
			o.Rules = []middleware.Rule{middleware.Authenticated("...")}
			auth, err := middleware.Auth(o)
			if err != nil {
				t.Fatal(err)
			}
			return auth
		}
		known := func(_ context.Context, identity any) (*middleware.Principal, error) {
			if identity == "" {
				return nil, nil
			}
			return &middleware.Principal{Name: fmt.Sprint("connected ", identity)}, nil
		}
		who := func(ctx context.Context) string { return middleware.PrincipalOf(ctx).Name }
		srv.With(mw(middleware.AuthOptions{Identity: known})).OnMessage("/identity", who)
		srv.With(mw(middleware.AuthOptions{Check: checkToken})).OnMessage("/token", who)
		srv.With(mw(middleware.AuthOptions{Check: checkToken, Identity: known})).OnMessage("/both", who)
		for _, tt := range []struct {
			name        any // of the connection; nil: no credentials
			path, token string
			want        string
		}{
			{"eve", "/identity", "", "connected eve"},
			{"", "/identity", "", "UNAUTHENTICATED: the credentials are nobody's"},
			{nil, "/identity", "", "UNAUTHENTICATED: no credentials"},
			{"eve", "/identity", "ada:x", "UNAUTHENTICATED: no credentials"},
			{"eve", "/token", "", "UNAUTHENTICATED: no credentials"},
			{"eve", "/token", "ada:x", "ada"},
			{"eve", "/both", "", "connected eve"},
			{"eve", "/both", "ada:x", "ada"},
			{"eve", "/both", "wrong", "UNAUTHENTICATED: no such token"},
		} {
			opts := intercept(middleware.Token("", tt.token))
			if tt.name != nil {
				opts.Auth = map[string]any{"Name": tt.name}
			}
			got, err := flyrpc.Call[string](t.Context(), newClient(t, srv, opts), tt.path, nil)
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("%v on %s with %q: got %q, want %q", tt.name, tt.path, tt.token, got, tt.want)
			}
		}
	})
}

func TestAuthFaults(t *testing.T) {
	for _, tt := range []struct {
		opts middleware.AuthOptions
		want string
	}{
		{middleware.AuthOptions{Rules: authRules()}, "nobody can pass: set Check or Identity"},
		{middleware.AuthOptions{Rules: append(authRules(), middleware.Public("/open")), Check: checkToken}, `two rules for the pattern "/open"`},
	} {
		if mw, err := middleware.Auth(tt.opts); mw != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if _, err := middleware.Auth(middleware.AuthOptions{Rules: []middleware.Rule{middleware.Public("...")}}); err != nil {
		t.Error(err)
	}
}

func ExampleAuth() {
	tokens := map[string]*middleware.Principal{
		"t-ada": {Name: "ada", Roles: []string{"admin"}},
		"t-bob": {Name: "bob"},
	}
	auth, err := middleware.Auth(middleware.AuthOptions{
		Rules: []middleware.Rule{
			middleware.Public("/health"),
			middleware.Authenticated("/user/..."),
			middleware.Roles("/admin/...", "admin"),
		},
		Check: func(_ context.Context, token string) (*middleware.Principal, error) { return tokens[token], nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.Use(auth)
	srv.OnMessage("/admin/stop", func(ctx *flyrpc.Context) string {
		return "stopped by " + middleware.PrincipalOf(ctx).Name
	})

	for _, token := range []string{"t-ada", "t-bob", "guess"} {
		cli := connect(srv, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{middleware.Token("", token)}})
		reply, err := flyrpc.Call[string](ctx, cli, "/admin/stop", nil)
		fmt.Printf("%q %v\n", reply, err)
		cli.Close()
	}
	// Output:
	// "stopped by ada" <nil>
	// "" FORBIDDEN: the caller has none of the roles that this path asks for
	// "" UNAUTHENTICATED: the credentials are nobody's
}
