package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestResolver: addresses come and go; what is open at one that goes ends first.
func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		lists := make(chan []string)
		r := resolverFunc(func(ctx context.Context, update func([]string)) error {
			for {
				select {
				case l := <-lists:
					if l == nil {
						return errors.New("the registry is gone")
					}
					update(l)
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		cli := c.client("", &ClientOpts{Resolver: r})
		first := make(chan error, 1)
		go func() { first <- cli.Call(t.Context(), "/who", nil, nil) }()
		synctest.Wait()
		lists <- []string{"mem://a", "mem://b", "mem://a"}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.counts()
		if got := c.who(t.Context(), cli, 10); got["a"] != 5 || got["b"] != 5 {
			t.Error(got)
		}
		works := []*Pending{cli.Go(t.Context(), "/work", 5*time.Second, nil), cli.Go(t.Context(), "/work", 5*time.Second, nil)}
		lists <- nil
		time.Sleep(time.Second)
		lists <- []string{"mem://b", "mem://c"}
		synctest.Wait()
		if got := c.who(t.Context(), cli, 10); got["c"] != 5 || got["b"] != 5 {
			t.Error(got)
		}
		for _, w := range works {
			if err := w.Err(); err != nil {
				t.Error("what was open:", err)
			}
		}
		time.Sleep(time.Minute)
		if n := len(c.srvs["a"].Conns()); n != 0 {
			t.Errorf("%d connections to an address that is gone", n)
		}
		lists <- []string{}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, cli.Call(ctx, "/who", nil, nil), Timeout, NotSent)
		lists <- []string{"mem://nobody"}
		synctest.Wait()
		lists <- []string{"mem://a"}
		synctest.Wait()
		cli.Close()
	})
}

type resolverFunc func(ctx context.Context, update func([]string)) error

func (f resolverFunc) Resolve(ctx context.Context, update func([]string)) error {
	return f(ctx, update)
}

// TestResolverFails: its error is what Connect returns, and it is asked again.
func TestResolverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a")
		n := 0
		cli := c.client("", &ClientOpts{Resolver: resolverFunc(func(ctx context.Context, update func([]string)) error {
			switch n++; n {
			case 1:
				return errors.New("no registry")
			case 2:
				return nil
			}
			return Addrs{"mem://a"}.Resolve(ctx, update)
		})})
		err := cli.Connect(t.Context())
		wantErr(t, err, Unavailable, NotSent)
		wantText(t, err.Error(), "no registry")
		if got := c.who(t.Context(), cli, 1); got["a"] != 1 {
			t.Error(got)
		}
		bad := c.client("", &ClientOpts{Resolver: DNS("nothing", 0)})
		wantErr(t, bad.Call(t.Context(), "/who", nil, nil), BadRequest, NotSent)
		many := make(Addrs, 2*maxLinks)
		for i := range many {
			many[i] = fmt.Sprint("mem://", i)
		}
		crowd := c.client("", &ClientOpts{Resolver: many})
		wantErr(t, crowd.Connect(t.Context()), Unavailable, NotSent)
		if n := len(crowd.links); n != maxLinks {
			t.Errorf("%d links", n)
		}
	})
}

// TestDNS: a name is looked up again and again, and its addresses stay when that fails.
func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := [][]string{{"10.0.0.2", "10.0.0.1"}, {"10.0.0.1", "10.0.0.2"}, nil, {"::1"}}
		var hosts []string
		d := DNS("tls://name:7000", 0).(*dns)
		d.lookup = func(_ context.Context, host string) ([]string, error) {
			hosts = append(hosts, host)
			ips := answers[min(len(hosts), len(answers))-1]
			if ips == nil {
				return nil, &net.DNSError{Err: "no such host", Name: host}
			}
			return slices.Clone(ips), nil
		}
		var got []string
		ctx, cancel := context.WithTimeout(t.Context(), 5*DefaultResolveInterval-1)
		defer cancel()
		if err := d.Resolve(ctx, func(addrs []string) { got = append(got, strings.Join(addrs, " ")) }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		want := []string{"tls://10.0.0.1:7000 tls://10.0.0.2:7000", "tls://[::1]:7000"}
		if !slices.Equal(got, want) || len(hosts) != 5 || hosts[0] != "name" {
			t.Errorf("%q after looking up %q", got, hosts)
		}
		bare := &dns{addr: "name:1", every: time.Second, lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("down") }}
		wantErr(t, bare.Resolve(t.Context(), nil), Unavailable, NotSent)
	})
}
