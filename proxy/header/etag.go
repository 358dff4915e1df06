package header

import (
	"net/http"
	"strings"
)

// Weaken makes the entity tag of a response weak: the bytes are no longer those the tag was made for, the meaning is
// (RFC 9110, section 8.8.1).
func Weaken(h http.Header) {
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		h.Set("Etag", "W/"+tag)
	}
}

// MatchesTag reports whether If-None-Match names tag by the weak comparison; "*" names every tag.
func MatchesTag(ifNoneMatch []string, tag string) bool {
	for e := range Elements(ifNoneMatch) {
		if e == "*" || tag != "" && strings.TrimPrefix(e, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// HasWeakTag reports whether If-None-Match names tag in its weak form.
func HasWeakTag(ifNoneMatch []string, tag string) bool {
	weak := "W/" + strings.TrimPrefix(tag, "W/")
	for e := range Elements(ifNoneMatch) {
		if e == weak {
			return true
		}
	}
	return false
}

// MaxRanges is how many ranges one request may ask for. Each part of an answer carries a header of its own, so that many
// small ranges cost more than the whole; Range may always be ignored (RFC 9110, section 14.2).
const MaxRanges = 16

// BoundRanges takes a Range with too many parts, or in a unit that is not bytes, out of a request: it returns r, or a copy
// without the field.
func BoundRanges(r *http.Request) *http.Request {
	if v := r.Header.Get("Range"); v == "" || strings.HasPrefix(v, "bytes=") && strings.Count(v, ",") < MaxRanges {
		return r
	}
	c := *r
	c.Header = r.Header.Clone()
	c.Header.Del("Range")
	return &c
}
