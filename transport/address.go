package transport

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// AddrError says that an address is wrong in itself: the same address will fail
// the same way, so trying again is of no use. Every other error of a dial or a
// listen may pass.
type AddrError struct {
	Addr    string // the address, without passwords
	Problem string // what is wrong with it, and what to write instead
}

// Error names the address and the problem.
func (e *AddrError) Error() string {
	return "transport: address " + strconv.Quote(e.Addr) + ": " + e.Problem
}

// ParseAddr parses an address: a URL such as "tcp://localhost:7000", or a bare
// host:port such as "localhost:7000", ":7000" or "[::1]:7000", which means tcp.
// Only "://" makes an address a URL, so a host is never taken for a scheme. The
// scheme of the result is in lower case. What else a URL must hold depends on
// its scheme and is checked by the Transport.
//
// Every error is an *AddrError.
func ParseAddr(addr string) (*url.URL, error) {
	if addr == "" {
		return nil, &AddrError{addr, `it is empty; write one like "localhost:7000" or "tcp://localhost:7000"`}
	}
	if strings.Contains(addr, "://") {
		return parseURL(addr)
	}
	return parseBare(addr)
}

func parseURL(addr string) (*url.URL, error) {
	u, err := url.Parse(addr)
	if err == nil {
		if u.Scheme != "" && u.Opaque == "" {
			return u, nil
		}
		err = errors.New("a URL starts with its scheme and \"://\", as in tcp://localhost:7000")
	}
	// url.Error repeats the whole text, and its cause may repeat a part of a
	// password. An address with an "@" is therefore not explained any further.
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		return nil, &AddrError{"..." + addr[i:], "it is no valid URL"}
	}
	var parse *url.Error
	if errors.As(err, &parse) {
		err = parse.Err
	}
	return nil, &AddrError{addr, "it is no valid URL: " + err.Error()}
}

// parseBare takes a host:port. It accepts exactly those whose tcp URL is valid,
// so both ways of writing an address mean the same.
func parseBare(addr string) (*url.URL, error) {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		return nil, &AddrError{"..." + addr[i:], "host:port takes no user or password"}
	}
	if strings.ContainsAny(addr, "/?#") {
		return nil, &AddrError{addr, "host:port takes no path or query; a URL has \"://\" after its scheme"}
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &AddrError{addr, splitProblem(err)}
	}
	if problem := portProblem(port); problem != "" {
		return nil, &AddrError{addr, problem}
	}
	u := &url.URL{Scheme: schemeTCP, Host: addr}
	if back, err := url.Parse(u.String()); err != nil || back.Host != u.Host {
		return nil, &AddrError{addr, "its host has characters that no host has"}
	}
	return u, nil
}

func splitProblem(err error) string {
	problem := err.Error()
	var split *net.AddrError
	if errors.As(err, &split) {
		problem = split.Err
	}
	return problem + "; write host:port, as in \"localhost:7000\" or \"[::1]:7000\""
}

// portProblem says what is wrong with a port, or "" when nothing is.
func portProblem(port string) string {
	if port == "" {
		return "it has no port; write host:port, as in \"localhost:7000\""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "port " + strconv.Quote(port) + " is no number from 0 to 65535"
	}
	return ""
}

// onlyHost checks that u has nothing beyond a scheme and a host.
func onlyHost(u *url.URL) error {
	var problem string
	switch {
	case u.User != nil:
		problem = "takes no user or password"
	case u.Opaque != "":
		problem = "has \"://\" after its scheme"
	case u.Path != "":
		problem = "takes no path; remove " + strconv.Quote(u.EscapedPath())
	case u.RawQuery != "" || u.ForceQuery:
		problem = "takes no query"
	case u.Fragment != "":
		problem = "takes no fragment"
	default:
		return nil
	}
	return &AddrError{u.Redacted(), "a " + u.Scheme + " address " + problem}
}
