package flyrpc

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// page answers a GET or HEAD: it says what the server is, or how the path is called.
func (c *httpCall) page() {
	c.w.Header().Set(outcomeHeader, outcomeText(nil))
	if c.r.URL.Path == "/" || c.r.URL.Path == "" {
		if find, _, _ := c.web.srv.find([]byte("/")); find == nil {
			c.write(http.StatusOK, mimeText, []byte("This is a FlyRPC server. Call its handlers by POST, with the message in JSON:\n\n"+
				"curl "+shellQuote(c.url())+"path/of/handler -d '{}'\n\nGET on the path of a handler says more.\n"))
			return
		}
	}
	if _, err := c.web.identify(c.r); err != nil {
		c.fail(err)
		return
	}
	if _, err := c.route(); err != nil {
		c.fail(err)
		return
	}
	c.w.Header().Set("Allow", allowed)
	c.write(http.StatusOK, mimeText, []byte(c.usage()))
}

// url returns the URL of the request as the client wrote it.
func (c *httpCall) url() string {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	uri := c.r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = c.r.URL.RequestURI()
	}
	path, _, _ := strings.Cut(uri, "?")
	return scheme + "://" + c.r.Host + path
}

// usage says how the route is called.
func (c *httpCall) usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Call this handler by POST:\n\ncurl %s", shellQuote(c.url()))
	if c.rt.takes {
		if c.rt.plan.Message != nil {
			fmt.Fprintf(&b, " -H %s", shellQuote(messageHeader+": "+c.example()))
		}
		b.WriteString(" -X POST -N -T -")
	} else {
		fmt.Fprintf(&b, " -d %s", shellQuote(c.example()))
	}
	b.WriteString("\n\n")
	switch {
	case c.rt.takes && c.rt.readsBytes():
		b.WriteString("The body is bytes that the handler reads as they come. ")
	case c.rt.takes:
		b.WriteString("The body is items, one on each line, in JSON. ")
	case c.rt.plan.Message == nil:
		b.WriteString("It takes no message. ")
	}
	if c.rt.yields {
		b.WriteString("It answers with items, one on each line, or as server-sent events if Accept says " + mimeEvents + ". ")
	}
	return strings.TrimSpace(b.String()) + "\n"
}

// example returns a message for the handler, as empty as can be.
func (c *httpCall) example() (text string) {
	t := c.rt.plan.Message
	if t == nil {
		return ""
	}
	if t == reflect.TypeFor[string]() || t == reflect.TypeFor[[]byte]() {
		return "text"
	}
	defer func() {
		if recover() != nil { // of the type's own methods
			text = "{}"
		}
	}()
	b, err := c.web.modes[0].ser.Encode(nil, reflect.New(t).Interface())
	if err != nil {
		return "{}"
	}
	return string(oneLine(b))
}

// shellQuote quotes text for a shell, where it needs that.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (strings.ContainsRune("/:.-_[]", r) || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z')
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
