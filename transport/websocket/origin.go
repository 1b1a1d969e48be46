package websocket

import (
	"fmt"
	"net/http"
	"slices"
)

// AnyOrigin as one of the Origins lets pages of all sites in.
const AnyOrigin = "*"

// CheckOrigin says why a request of a browser may not be served, or returns nil. It may if it comes from a page of
// the server itself, of one of the origins, or from no page: those who aren't browsers send no Origin header, or
// whichever they want. origins are as in AcceptOptions.
//
// It holds every request to what net/http's CrossOriginProtection asks of a POST.
func CheckOrigin(r *http.Request, origins []string) error {
	if slices.Contains(origins, AnyOrigin) {
		return nil
	}
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return fmt.Errorf("websocket: Origins: %w; write one like https://example.com", err)
		}
	}
	posted := *r // a GET would be let in
	posted.Method = http.MethodPost
	if protection.Check(&posted) == nil {
		return nil
	}
	from := r.Header.Get("Origin")
	if from == "" {
		return fmt.Errorf("websocket: the request comes from a page of another site (Sec-Fetch-Site: %s), and doesn't say from which", r.Header.Get("Sec-Fetch-Site"))
	}
	return &originError{from, r.Host}
}

// originError is why a page isn't let in.
type originError struct{ origin, host string }

func (e *originError) Error() string {
	return fmt.Sprintf("websocket: the page's origin %q is neither this server, %q, nor one of its Origins: put it there to let it in", e.origin, e.host)
}
