package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// Bounds of what one response may say.
const (
	maxVaryFields = 16
	maxVaryBytes  = 4 << 10
	maxTags       = 128
	maxTagBytes   = 8 << 10
	maxHeaderSize = 64 << 10
	// maxHeuristic is how long a response may be fresh that never said so.
	maxHeuristic = 24 * time.Hour
)

// hopByHop fields are about one connection and are never stored (RFC 9111, section 3.1).
var hopByHop = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// storable decides whether a response to a GET may be stored, and makes the meta of what would be. It answers by RFC 9111,
// section 3, and more strictly where a mistake of the back end would show one user's data to another.
func (c *Cache) storable(key string, r *http.Request, status int, h http.Header, asked, now time.Time) (meta, bool) {
	none := meta{}
	cc := responseControl(h)
	switch {
	case status < 200 || status == http.StatusPartialContent || status == http.StatusNotModified:
		return none, false
	case cc.mustUnderstand && !understood(status), cc.noStore && !cc.mustUnderstand:
		return none, false
	case cc.private:
		return none, false
	case r.Header["Authorization"] != nil && !cc.public && !cc.sMaxAge.given:
		// must-revalidate would do by the letter, but back ends say it without meaning "for everybody".
		return none, false
	case len(h["Trailer"]) > 0, header.MediaType(h.Get("Content-Type")) == "text/event-stream":
		return none, false
	case c.config.ClientDirectives && parseControl(r.Header["Cache-Control"]).noStore:
		return none, false
	}
	kept := storedHeader(h, cc)
	if len(kept["Set-Cookie"]) > 0 && !c.config.StoreSetCookie {
		return none, false
	}
	vary, ok := varyOf(h, r.Header)
	if !ok || headerSize(kept) > maxHeaderSize {
		return none, false
	}
	m := meta{Key: key, Status: status, Header: kept, Vary: vary, Tags: tagsOf(h), Received: now}
	personal := r.Header["Cookie"] != nil || r.Header["Authorization"] != nil
	if !c.time(&m, cc, h, personal, asked) {
		return none, false
	}
	// What can be neither used as it is nor asked about is of no use.
	if m.Lifetime <= 0 && len(m.validators()) == 0 && m.StaleError <= 0 && m.StaleWhile <= 0 {
		return none, false
	}
	return m, true
}

// time fills in how long m may be used; it is false where nothing allows to store it.
func (c *Cache) time(m *meta, cc control, h http.Header, personal bool, asked time.Time) bool {
	now := m.Received
	date, ok := dateOf(h, "Date")
	if !ok {
		date = now
		m.Header.Set("Date", now.UTC().Format(http.TimeFormat))
	}
	// RFC 9111, section 4.2.3.
	age, badAge := ageOf(h)
	age = max(now.Sub(date), age+now.Sub(asked), 0)
	m.Born = now.Add(-age)

	expires, hasExpires := dateOf(h, "Expires")
	switch {
	case cc.sMaxAge.given:
		m.Lifetime = cc.sMaxAge.duration()
	case cc.maxAge.given:
		m.Lifetime = cc.maxAge.duration()
	case h["Expires"] != nil:
		if hasExpires { // what is no date is in the past
			m.Lifetime = max(expires.Sub(date), 0)
		}
	case !heuristic(m.Status) && !cc.public:
		return false
	case personal && !cc.public:
		// Nobody said that this answer is for anybody else.
	case c.config.DefaultTTL > 0:
		m.Lifetime = time.Duration(c.config.DefaultTTL) + age
	case !c.config.NoHeuristic:
		if modified, ok := dateOf(h, "Last-Modified"); ok {
			m.Lifetime = min(max(date.Sub(modified)/10, 0), maxHeuristic)
		}
	}
	if cc.noCache || badAge {
		m.Lifetime = 0
	}
	m.Strict = cc.noCache || cc.mustRevalidate || cc.proxyRevalidate || cc.sMaxAge.given
	if m.Strict {
		return true
	}
	m.StaleWhile, m.StaleError = time.Duration(c.config.StaleWhileRevalidate), time.Duration(c.config.StaleIfError)
	if cc.staleWhileRevalidate.given {
		m.StaleWhile = min(cc.staleWhileRevalidate.duration(), longest)
	}
	if cc.staleIfError.given {
		m.StaleError = min(cc.staleIfError.duration(), longest)
	}
	return true
}

// storedHeader is a copy of what may be stored of a header: without what concerns one connection, and without the fields that
// no-cache or private name.
func storedHeader(h http.Header, cc control) http.Header {
	kept := h.Clone()
	for name := range header.Elements(h["Connection"]) {
		kept.Del(name)
	}
	for _, name := range hopByHop {
		kept.Del(name)
	}
	for _, name := range cc.noCacheFields {
		kept.Del(name)
	}
	for _, name := range cc.privateFields {
		kept.Del(name)
	}
	kept.Del("Age")
	for name := range kept {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			kept.Del(name)
		}
	}
	return kept
}

// varyOf are the selecting fields of a response to a request; ok is false where it varies by more than fields.
func varyOf(h, request http.Header) (out []selecting, ok bool) {
	size := 0
	for name := range header.Elements(h["Vary"]) {
		if name == "*" {
			return nil, false
		}
		s := selecting{Name: http.CanonicalHeaderKey(name)}
		if slices.ContainsFunc(out, func(o selecting) bool { return o.Name == s.Name }) {
			continue
		}
		s.Value = selectingValue(request, s.Name)
		out = append(out, s)
		if size += len(s.Name) + len(s.Value); size > maxVaryBytes || len(out) > maxVaryFields {
			return nil, false
		}
	}
	slices.SortFunc(out, func(a, b selecting) int { return strings.Compare(a.Name, b.Name) })
	return out, true
}

// tagsOf are what a purge may name a response by: Surrogate-Key, separated by spaces, and Cache-Tag, by commas.
func tagsOf(h http.Header) []string {
	var out []string
	size := 0
	add := func(t string) {
		if size += len(t); t != "" && len(out) < maxTags && size <= maxTagBytes {
			out = append(out, t)
		}
	}
	for _, line := range h["Surrogate-Key"] {
		for _, t := range strings.Fields(line) {
			add(t)
		}
	}
	for t := range header.Elements(h["Cache-Tag"]) {
		add(t)
	}
	return out
}

func headerSize(h http.Header) int {
	n := 0
	for k, vs := range h {
		for _, v := range vs {
			n += len(k) + len(v)
		}
	}
	return n
}

// refreshed is a stored object after a 304: its fields are those of the answer, but for what describes the stored bytes
// (RFC 9111, section 3.2).
func (c *Cache) refreshed(old *object, r *http.Request, h http.Header, asked, now time.Time) (*object, bool) {
	merged := old.Header.Clone()
	merged.Del("Date")
	for name, values := range storedHeader(h, responseControl(h)) {
		switch name {
		case "Content-Encoding", "Content-Length", "Content-Md5", "Content-Range", "Etag", "Cache-Status":
		default:
			merged[name] = values
		}
	}
	forTime := merged.Clone()
	if age := h["Age"]; age != nil {
		forTime["Age"] = age
	}
	m, ok := c.storable(old.Key, r, old.Status, forTime, asked, now)
	if !ok { // right for this once
		m = meta{Key: old.Key, Status: old.Status, Header: merged, Born: now, Received: now}
	}
	return &object{meta: m, body: old.body}, ok
}
