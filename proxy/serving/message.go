package serving

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Clock knows how answers write the time. Its zero value is ready.
type Clock struct{ last atomic.Pointer[second] }

type second struct {
	unix int64
	text string
}

// Date is the value of the header for a time (RFC 9110, section 6.6.1).
func (c *Clock) Date(now time.Time) string {
	if s := c.last.Load(); s != nil && s.unix == now.Unix() {
		return s.text
	}
	s := &second{now.Unix(), now.UTC().Format(http.TimeFormat)}
	c.last.Store(s)
	return s.text
}

// BodyAllowed reports whether an answer may have a body (RFC 9110, section 6.4.1).
func BodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// ParseTarget reads the target of a request as url.ParseRequestURI does, which it need not be asked for most of them.
func ParseTarget(s string, into *url.URL) error {
	if path, query, ok := plain(s); ok {
		into.Path, into.RawQuery, into.ForceQuery = path, query, len(path) < len(s) && query == ""
		return nil
	}
	u, err := url.ParseRequestURI(s)
	if err == nil {
		*into = *u
	}
	return err
}

// plain takes a target apart that is a path of letters, digits and what else means itself, and a query.
func plain(s string) (path, query string, ok bool) {
	if s == "" || s[0] != '/' {
		return "", "", false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '?' {
			return s[:i], s[i+1:], printable(s[i+1:])
		}
		if !plainChars[c] {
			return "", "", false
		}
	}
	return s, "", true
}

// printable reports whether there is no control character in s.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

var plainChars = func() (t [256]bool) {
	for _, c := range []byte("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()
