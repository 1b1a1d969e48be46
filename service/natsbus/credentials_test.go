package natsbus

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/go-flyrpc/flyrpc/service"
)

// Connect takes a credentials file, and the seed of an NKey, as nats.go does: services talk with them, and are refused with those of others.
func TestConnectCredentials(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		opts, creds := operatorMode(t)
		_, others := operatorMode(t)
		testCredentials(t, opts, nats.UserCredentials(creds), nats.UserCredentials(others))
	})
	t.Run("nkey", func(t *testing.T) {
		user, seed := nkey(t, nkeys.CreateUser)
		_, other := nkey(t, nkeys.CreateUser)
		opts := &server.Options{Nkeys: []*server.NkeyUser{{Nkey: user}}}
		testCredentials(t, opts, seedOption(t, seed), seedOption(t, other))
	})
}

func testCredentials(t *testing.T, opts *server.Options, right, wrong nats.Option) {
	srv := broker(t, opts)
	bus, err := Connect(srv.ClientURL(), quiet(), right)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	svc := service.New("s", bus, nil)
	defer svc.Close()
	if err := svc.QueueBind("echo").To(func(text string) string { return text }); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := svc.Self().Request(t.Context(), "echo", "hello").Into(&got); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	for name, opts := range map[string][]nats.Option{"without any": nil, "with those of others": {wrong}} {
		if b, err := Connect(srv.ClientURL(), quiet(), opts...); err == nil {
			b.Close()
			t.Errorf("connected %s", name)
		}
	}
}

// operatorMode returns the options of a server that trusts an operator, and the credentials file of a user of its account.
func operatorMode(t *testing.T) (*server.Options, string) {
	t.Helper()
	operatorKey, operatorSeed := nkey(t, nkeys.CreateOperator)
	accountKey, accountSeed := nkey(t, nkeys.CreateAccount)
	userKey, userSeed := nkey(t, nkeys.CreateUser)
	account := jwt.NewAccountClaims(accountKey)
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountKey, signed(t, account, operatorSeed)); err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(signed(t, jwt.NewUserClaims(userKey), accountSeed), userSeed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	return &server.Options{TrustedKeys: []string{operatorKey}, AccountResolver: resolver}, file
}

// signed returns claims that whoever has the seed has signed.
func signed(t *testing.T, claims jwt.Claims, seed []byte) string {
	t.Helper()
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	token, err := claims.Encode(pair)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// nkey makes a key, and returns its public part and its seed.
func nkey(t *testing.T, create func() (nkeys.KeyPair, error)) (public string, seed []byte) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return public, seed
}

// seedOption is the option of a client that signs with a seed, from a file.
func seedOption(t *testing.T, seed []byte) nats.Option {
	t.Helper()
	file := filepath.Join(t.TempDir(), fmt.Sprintf("%x.nk", seed[len(seed)-4:]))
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	opt, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	return opt
}
