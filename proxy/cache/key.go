package cache

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// keySeparator stands between the address and the values of key headers; no address has it.
const keySeparator = "\x00"

// maxGlob bounds patterns of addresses.
const maxGlob = 2048

// keyOf is what a response is stored under: scheme, host, path and query, and the values of the key headers. It is not what
// a client writes into X-Forwarded-Host or into a full address in the request line, which net/http has put into Host.
func (c *Cache) keyOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	var b strings.Builder
	b.WriteString(addressOf(scheme, r.Host, r.URL))
	if !c.config.IgnoreQuery && (r.URL.RawQuery != "" || r.URL.ForceQuery) {
		b.WriteByte('?')
		b.WriteString(r.URL.RawQuery)
	}
	for _, name := range c.config.KeyHeaders {
		b.WriteString(keySeparator)
		b.WriteString(selectingValue(r.Header, name))
	}
	return b.String()
}

// addressOf is scheme, host and path, in one form for all ways to write them.
func addressOf(scheme, host string, u *url.URL) string {
	host = strings.ToLower(host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path
}

// urlOfKey is the key without the values of key headers.
func urlOfKey(key string) string {
	url, _, _ := strings.Cut(key, keySeparator)
	return url
}

// keyOfURL is urlOfKey of the keys of an address.
func keyOfURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("purge: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("purge %q: must be a whole address, for example https://example.com/page", s)
	}
	key := addressOf(u.Scheme, u.Host, u)
	if u.RawQuery != "" || u.ForceQuery {
		key += "?" + u.RawQuery
	}
	return key, nil
}

// glob reports whether pattern matches all of s; "*" is any text. It takes time in proportion to the product of both
// lengths at worst.
func glob(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
