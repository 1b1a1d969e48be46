package transport

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Table picks a Transport by an address's scheme. It never changes once made,
// so all of its methods may run concurrently. Make it with NewTable: the zero
// value knows no scheme.
type Table struct {
	byScheme map[string]Transport
}

// builtin lists what every Table serves unless the program gives another
// Transport for the scheme.
func builtin() []Transport {
	return []Transport{TCP{}, Unix{}, &UDP{}}
}

// NewTable makes a Table of the built-in transports, [TCP], [Unix] and a [UDP],
// and the given ones. A given transport replaces the built-in one of the same scheme.
// The same scheme given twice is an error, and so is a nil transport, one
// without a scheme, and a scheme that no URL can have in lower case.
func NewTable(extra ...Transport) (*Table, error) {
	given := make(map[string]Transport)
	for i, t := range extra {
		if t == nil {
			return nil, fmt.Errorf("transport: transport %d is nil", i)
		}
		if err := addGiven(given, t); err != nil {
			return nil, err
		}
	}
	all := make(map[string]Transport)
	for _, t := range builtin() {
		for _, scheme := range t.Schemes() {
			all[scheme] = t
		}
	}
	maps.Copy(all, given)
	return &Table{all}, nil
}

func addGiven(given map[string]Transport, t Transport) error {
	schemes := t.Schemes()
	if len(schemes) == 0 {
		return fmt.Errorf("transport: %T names no scheme", t)
	}
	for _, scheme := range schemes {
		if !validScheme(scheme) {
			return fmt.Errorf("transport: %T names the scheme %q; a scheme is a lower-case letter, then lower-case letters, digits, '+', '-' or '.'", t, scheme)
		}
		if other, ok := given[scheme]; ok {
			return fmt.Errorf("transport: scheme %q is given twice, by %T and by %T", scheme, other, t)
		}
		given[scheme] = t
	}
	return nil
}

func validScheme(s string) bool {
	u, err := url.Parse(s + "://host")
	return err == nil && s != "" && u.Scheme == s
}

// Dial connects to addr, which is what ParseAddr takes. A wrong address and an
// unknown scheme give an *AddrError; other errors are the transport's.
func (t *Table) Dial(ctx context.Context, addr string) (net.Conn, error) {
	tr, u, err := t.find(addr)
	if err != nil {
		return nil, err
	}
	return tr.Dial(ctx, u)
}

// Listen listens at addr, which is what ParseAddr takes. A wrong address and an
// unknown scheme give an *AddrError; other errors are the transport's.
func (t *Table) Listen(ctx context.Context, addr string) (net.Listener, error) {
	tr, u, err := t.find(addr)
	if err != nil {
		return nil, err
	}
	return tr.Listen(ctx, u)
}

// Schemes lists the schemes that the Table serves, sorted. The caller owns the
// list.
func (t *Table) Schemes() []string {
	return slices.Sorted(maps.Keys(t.byScheme))
}

func (t *Table) find(addr string) (Transport, *url.URL, error) {
	u, err := ParseAddr(addr)
	if err != nil {
		return nil, nil, err
	}
	tr, ok := t.byScheme[u.Scheme]
	if !ok {
		return nil, nil, &AddrError{u.Redacted(), t.unknown(u.Scheme)}
	}
	return tr, u, nil
}

func (t *Table) unknown(scheme string) string {
	return "unknown scheme " + strconv.Quote(scheme) +
		" (known: " + strings.Join(t.Schemes(), ", ") + "); " + howToServe(scheme)
}

func howToServe(scheme string) string {
	switch scheme {
	case schemeMem:
		return "put a transport.NewMem() into Transports"
	case "http", "https":
		return "to serve HTTP listen at a tcp or tls address, where it is served too"
	case schemeTLS:
		return "put a transport.TLS with a Config into Transports"
	}
	return "put a Transport that serves it into Transports"
}
