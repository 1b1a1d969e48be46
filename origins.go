package flyrpc

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// origins are the sites whose pages may call: ServerOpts.Origins, and the server's own.
type origins struct {
	listed []string
	all    bool
	check  *http.CrossOriginProtection
}

// newOrigins parses ServerOpts.Origins.
func newOrigins(listed []string) (origins, error) {
	o := origins{listed: slices.Clone(listed), all: slices.Contains(listed, "*"), check: http.NewCrossOriginProtection()}
	for _, origin := range listed {
		if origin == "*" {
			continue
		}
		if err := o.check.AddTrustedOrigin(origin); err != nil {
			return o, fmt.Errorf("ServerOpts.Origins: %w: write it as https://example.com, or * for all", err)
		}
	}
	return o, nil
}

// refuse says why the page that sends a request may not call, or returns nil.
func (o *origins) refuse(r *http.Request) error {
	if o.all || o.check.Check(r) == nil {
		return nil
	}
	return Errorf(Forbidden, "a page of %q may not call this server: list its origin in ServerOpts.Origins", r.Header.Get("Origin"))
}

// allow adds to the header of an answer what lets the page that sent the request read it, if it is of a listed origin.
func (o *origins) allow(r *http.Request, h http.Header) {
	if len(o.listed) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
	case slices.Contains(o.listed, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case o.all:
		h.Set("Access-Control-Allow-Origin", "*")
	}
}

// preflight adds what a browser asks for before it lets a page call, if the page's origin is listed.
func (o *origins) preflight(r *http.Request, h http.Header) {
	if h.Get("Access-Control-Allow-Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return
	}
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", http.MethodPost)
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
}

// expose lets the page read the headers of an answer that are FlyRPC's.
func expose(h http.Header) {
	if h.Get("Access-Control-Allow-Origin") == "" {
		return
	}
	var names []string
	for name := range h {
		if strings.HasPrefix(name, headerPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	h.Set("Access-Control-Expose-Headers", strings.Join(names, ", "))
}
