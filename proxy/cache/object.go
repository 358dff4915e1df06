package cache

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// object is one stored response. It is never changed: a revalidation makes another one with the same body.
type object struct {
	meta
	body body
}

// meta is everything about an object but its body; it is what the disk tier writes beside the body.
type meta struct {
	Key    string      `json:"key"`
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	// Vary are the request fields that the response depends on, with the values they had.
	Vary []selecting `json:"vary,omitempty"`
	Tags []string    `json:"tags,omitempty"`
	// Born is when the origin made it, as far as one can tell: the time of receipt less its age then.
	Born time.Time `json:"born"`
	// Received is when it came in, or was last found to be still right.
	Received time.Time `json:"received"`
	// Lifetime is how long from Born on it is fresh; zero is never.
	Lifetime time.Duration `json:"lifetime"`
	// StaleWhile and StaleError are how long beyond that it may be used while it is fetched anew, or where that fails.
	StaleWhile time.Duration `json:"stale_while,omitempty"`
	StaleError time.Duration `json:"stale_error,omitempty"`
	// Strict is never to be used stale, whatever a request says.
	Strict bool `json:"strict,omitempty"`
}

// selecting is a request field that Vary names.
type selecting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// body opens what was stored.
type body interface {
	open() (io.ReadSeekCloser, error)
	size() int64
}

func (m *meta) age(now time.Time) time.Duration { return max(now.Sub(m.Born), 0) }

// remaining is how much longer it is fresh; negative is for how long it has been stale.
func (m *meta) remaining(now time.Time) time.Duration { return m.Lifetime - m.age(now) }

// validators are the fields of a request that asks whether it is still right; none says that it cannot be asked.
func (m *meta) validators() http.Header {
	v := http.Header{}
	if tag := m.Header.Get("Etag"); tag != "" {
		v.Set("If-None-Match", tag)
	}
	if at := m.Header.Get("Last-Modified"); at != "" {
		v.Set("If-Modified-Since", at)
	}
	return v
}

// matches reports whether the object answers a request with these fields.
func (m *meta) matches(request http.Header) bool {
	for _, s := range m.Vary {
		if selectingValue(request, s.Name) != s.Value {
			return false
		}
	}
	return true
}

// sameVariant reports whether one object takes the place of the other.
func (m *meta) sameVariant(o *meta) bool {
	if len(m.Vary) != len(o.Vary) {
		return false
	}
	for i := range m.Vary {
		if m.Vary[i] != o.Vary[i] {
			return false
		}
	}
	return true
}

// selectingValue is a field's value in a form that is the same for fields that mean the same: lines joined, white space
// around elements gone, and case where it says nothing.
func selectingValue(h http.Header, name string) string {
	lines := h[name]
	if len(lines) == 0 {
		return ""
	}
	var b strings.Builder
	for e := range header.Elements(lines) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(e)
	}
	v := b.String()
	if name == "Accept-Encoding" || name == "Accept-Language" {
		v = strings.ToLower(v)
	}
	// Absent and empty are two things.
	return "=" + v
}

// weight is what an object takes in memory beside its body.
func (m *meta) weight() int64 {
	n := int64(len(m.Key)) + 512
	for k, vs := range m.Header {
		n += int64(len(k)) + 64
		for _, v := range vs {
			n += int64(len(v)) + 16
		}
	}
	for _, s := range m.Vary {
		n += int64(len(s.Name)+len(s.Value)) + 32
	}
	for _, t := range m.Tags {
		n += int64(len(t)) + 16
	}
	return n
}
